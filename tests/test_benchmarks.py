"""The benchmarks: load, verdicts and reports. No test asserts how long anything takes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest

from benchmarks import __main__ as cli
from benchmarks import instructions, load, servers, sites
from benchmarks.report import FLOOR, SERVICE, Report, Row, with_result
from benchmarks.targets import OPERATIONS, TARGETS

ME = OPERATIONS["me"]
VERSIONS = {"python": "3.13.0", "fastapi": "0.165.0"}
FLOORS = {"health": 100, "list": 1000}


def row(*ours: float, floor: tuple[float, ...] = (100.0, 100.0, 100.0), name: str = ME) -> Row:
    return Row(name, "µs", {SERVICE: ours, FLOOR: floor}, FLOOR)


def counts(
    health: int, *, floor: int = 100, versions: dict[str, str] | None = None
) -> instructions.Counts:
    return instructions.Counts(
        VERSIONS if versions is None else versions,
        {"health": health, "list": 1500},
        {**FLOORS, "health": floor},
    )


class TestRow:
    def test_is_met_up_to_its_target(self) -> None:
        assert row(190, 190, 190).verdict == "met"
        assert row(191, 191, 191).verdict == "**missed**"
        assert row(191, 191, 191, name="no target").verdict == ""

    def test_is_undecided_where_that_depends_on_the_average(self) -> None:
        assert row(180, 180, 500).averages == pytest.approx((1.8, 1.8, 2.867), abs=0.001)
        assert row(180, 180, 500).verdict == "undecided"

    def test_compares_neighbouring_turns(self) -> None:
        busy = (100.0, 300.0, 300.0)

        assert row(*(1.2 * each for each in busy), floor=busy).averages[0] == pytest.approx(1.2)

    def test_without_another_server_is_judged_as_it_is(self) -> None:
        name = "statements of a login"

        assert Row(name, "", {SERVICE: [4.0]}).verdict == "met"
        assert Row(name, "", {SERVICE: [5.0]}).verdict == "**missed**"

    def test_of_a_foreign_service_asks_for_a_multiple_of_ours(self) -> None:
        samples = {"theirs": [220.0], SERVICE: [100.0]}

        assert Row(f"{ME}: theirs", "µs", samples, SERVICE, of="theirs").verdict == "met"
        samples["theirs"] = [210.0]
        assert Row(f"{ME}: theirs", "µs", samples, SERVICE, of="theirs").verdict == "**missed**"


class TestReport:
    @pytest.fixture
    def report(self) -> Report:
        own = Row("headers of a JSON answer", "", {SERVICE: [12.0], FLOOR: [5.0]})
        growth = Row("GET /items by rows", "µs", {"1,000": [5.0], "10,000": [6.0, 8.0]})
        cpu = row(150, 160, 1234)
        return Report("2026-11-30", {"load": "0.1"}, VERSIONS, [cpu], [cpu], [own], [growth])

    def test_has_each_sample_for_machines(self, report: Report) -> None:
        content = json.loads(report.to_json())

        assert content["cpu"][0]["samples"][SERVICE] == [150, 160, 1234]
        assert content["versions"] == VERSIONS

    def test_has_medians_spread_target_and_verdict_for_people(self, report: Report) -> None:
        lines = report.to_markdown().splitlines()

        assert (
            f"| {ME} | 160 (150 to 1,234) | 100 | 1.60 (1.60 to 5.15) | ≤ 1.9 | undecided |"
            in lines
        )
        assert (
            "| headers of a JSON answer (`GET /users/me`) |  | 12 |  |  | ≤ 10 | **missed** |"
            in lines
        )
        assert "- GET /items by rows (µs): 1,000: 5; 10,000: 7 (6 to 8)" in lines

    def test_replaces_the_last_one(self) -> None:
        readme = "# A\n<!-- last result -->old<!-- end of last result -->\n# B\n"

        written = with_result(readme, "new")

        assert written == "# A\n<!-- last result -->\n\nnew\n\n<!-- end of last result -->\n# B\n"
        assert with_result(written, "new") == written

    def test_finds_its_place(self) -> None:
        with_result(cli.README.read_text(encoding="utf-8"), "")
        with pytest.raises(ValueError, match="lacks"):
            with_result("# A\n", "")

    def test_has_the_targets_of_all_operations(self) -> None:
        assert {name: TARGETS[name].limit for name in OPERATIONS.values()} == {
            "GET /health": 1.6,
            "GET /users/me": 1.9,
            "GET /items, 20 rows": 2.1,
            "GET /items/{id}": 2.4,
            "POST /items": 3.0,
        }


class TestLoad:
    @pytest.fixture
    def received(self) -> list[bytes]:
        return []

    @asynccontextmanager
    async def server(self, received: list[bytes], answer: bytes) -> AsyncIterator[int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    received.append(head)
                    # In pieces, as answers arrive.
                    for piece in (answer[:20], answer[20:]):
                        writer.write(piece)
                        await writer.drain()
            except asyncio.IncompleteReadError:
                writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]

    def sent(self, received: list[bytes], answer: bytes, count: int) -> load.Answers:
        """Send requests on one connection, until so many are answered."""
        of = load.Load("GET", [("/a", "one"), ("/b", "two")])

        async def send() -> load.Answers:
            answers, loop = load.Answers(), asyncio.get_running_loop()
            async with self.server(received, answer) as port:
                requests = iter(of.requests("h") * count)
                limited = cycle(each for each, _ in zip(requests, range(count), strict=False))
                _, client = await loop.create_connection(
                    lambda: load.Connection(limited, answers, 0.0), "127.0.0.1", port
                )
                while len(answers.times) < count:
                    await asyncio.wait([client.closed], timeout=0.001)
                answers.is_over = True
                await client.closed
            return answers

        return asyncio.run(send())

    def test_sends_requests_in_turn_and_records_complete_answers(
        self, received: list[bytes]
    ) -> None:
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"

        answers = self.sent(received, answer, 4)

        assert not answers.failures
        assert all(sent < answered for sent, answered in answers.times)
        assert received[:2] == [
            b"GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer one\r\n\r\n",
            b"GET /b HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer two\r\n\r\n",
        ]

    def test_records_refusals(self, received: list[bytes]) -> None:
        answer = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"

        assert "503" in self.sent(received, answer, 1).failures[0]

    def test_sends_a_body_as_json(self) -> None:
        (request,) = load.Load("POST", [("/a", "")], "{}").requests("h")

        head, body = request.split(b"\r\n\r\n")
        assert b"Content-Type: application/json\r\nContent-Length: 2" in head
        assert body == b"{}"


class TestProcesses:
    @pytest.fixture
    def family(self) -> "Iterator[subprocess.Popen[str]]":
        """A process with a child; both print when they run, and end with their standard input."""
        script = (
            "import subprocess, sys;"
            "child = subprocess.Popen([sys.executable, '-c', 'print(1, flush=True); input()']);"
            "child.wait()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
            process.communicate("\n")

    def test_count_with_their_descendants(self, family: "subprocess.Popen[str]") -> None:
        server = servers.Server("service", "http://127.0.0.1:80", family.pid)

        assert len(servers.processes(family.pid)) == 2
        assert len(server.cpu()[0]) == 2
        assert 1 < server.memory_mib() <= server.reset_peak()

    def test_that_have_ended_meanwhile_do_not_count(self) -> None:
        assert servers.used({1: 10**9, 2: 10**9}, {1: 3 * 10**9, 3: 10**9}) == 3

    def test_are_none_where_there_is_no_such_field(self) -> None:
        assert servers.kibibytes("Name:\tx\nVmRSS:\t   2048 kB\n", "VmRSS") == 2048
        with pytest.raises(ValueError, match="VmHWM"):
            servers.kibibytes("VmRSS: 1 kB", "VmHWM")


class TestSite:
    @pytest.fixture
    def site(self) -> sites.Site:
        accounts = [sites.Account(f"a{n}", f"t{n}", f"i{n}") for n in range(2)]
        return sites.Site(sites.own_plan(), accounts)

    def test_spreads_each_operation_over_its_accounts(self, site: sites.Site) -> None:
        found = {name: site.load(name) for name in OPERATIONS}

        assert list(found["item"].targets) == [
            ("/api/v1/items/i0", "t0"),
            ("/api/v1/items/i1", "t1"),
        ]
        assert found["health"].targets == [("/health", "")]
        assert found["create"].method == "POST"
        assert json.loads(found["create"].body)["title"]
        assert sites.ACCOUNTS == 100

    def test_takes_other_tokens_of_one_account(self, site: sites.Site) -> None:
        assert site.load("me", ["x", "y"]).targets == [
            ("/api/v1/users/me", "x"),
            ("/api/v1/users/me", "y"),
        ]

    def test_of_a_foreign_service_is_read_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "theirs.toml"
        path.write_text('name = "theirs"\nurl = "http://127.0.0.1:8001"\npid = 7\nme = "/me"\n')

        plan, server = sites.read_foreign(path)

        assert plan["me"] == "/me"
        assert server == servers.Server("theirs", "http://127.0.0.1:8001", 7)
        assert server.address == ("127.0.0.1", 8001)


class TestInstructions:
    def test_are_read_from_a_profile(self) -> None:
        profile = "version: 1\ndesc: Trigger: dump list\nsummary: 5\ntotals: 123456\n"

        assert instructions.parse(profile) == ("list", 123456 // instructions.TIMES)
        assert instructions.parse("desc: Trigger: Program termination\ntotals: 1\n") is None

    @pytest.mark.parametrize(("now", "found"), [(104, 0), (105, 1), (90, 0)])
    def test_may_grow_by_less_than_five_percent(self, now: int, found: int) -> None:
        assert len(instructions.regressions(counts(100), counts(now))) == found

    def test_are_compared_by_ratio_where_versions_differ(self) -> None:
        others = {**VERSIONS, "fastapi": "0.166.0"}
        slower_all_over = counts(120, floor=120, versions=others)
        slower_alone = counts(120, versions=others)

        assert instructions.differences(VERSIONS, others) == [
            "fastapi: 0.165.0 in the baseline, 0.166.0 here"
        ]
        assert instructions.regressions(counts(100), slower_all_over) == []
        (found,) = instructions.regressions(counts(100), slower_alone)
        assert "1.00 -> 1.20 times the floor (+20.0%)" in found

    def test_miss_no_operation(self) -> None:
        fewer = instructions.Counts(VERSIONS, {"list": 1500}, FLOORS)

        assert instructions.regressions(counts(100), fewer) == ["health: not counted any more"]

    def test_are_shown_by_layer(self) -> None:
        service = {"health": 100, "health__Log": 70, "health__Limit": 95}
        found = instructions.layers_table(instructions.Counts(VERSIONS, service, FLOORS))

        assert [line.split() for line in found.splitlines()] == [
            ["health:", "100,", "1.00", "times", "the", "floor's"],
            ["65", "0.65", "routing,", "dependencies,", "the", "operation"],
            ["30", "0.30", "Log"],
            ["5", "0.05", "Limit"],
        ]

    def test_are_kept_as_they_are(self, tmp_path: Path) -> None:
        path = tmp_path / "baseline.json"

        instructions.store(counts(100), path)

        assert instructions.load(path) == counts(100)
        _, health, _ = instructions.table(counts(110), instructions.load(path)).splitlines()
        assert health.split() == ["health", "110", "100", "1.10", "+10.0%"]


class TestCommandLine:
    @pytest.mark.parametrize("command", ["count", "layers"])
    def test_asks_for_valgrind(
        self, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", os.devnull)

        assert cli.main([command]) == 2
        assert "apt-get install valgrind" in capsys.readouterr().err
