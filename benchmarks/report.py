"""Figures, their spread, and verdicts: for machines as JSON, for people as Markdown."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from benchmarks.targets import AS_CHEAP, EXPLANATIONS, TARGETS, Target

BEGIN, END = "<!-- last result -->", "<!-- end of last result -->"
SERVICE, FLOOR = "service", "floor"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, as measured of each server.

    Attributes:
        samples: By server, one for each turn or round.
        to: The server to compare with; empty if the figure counts as it is.
        of: The server to judge.
    """

    name: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    to: str = ""
    of: str = SERVICE

    @property
    def averages(self) -> tuple[float, ...]:
        """Return the figure, or its ratio to the other server's, by each way to average it.

        The first is the one to print: the median, or that of the ratios of neighbouring turns,
        which whatever else runs on the machine disturbs alike.
        """
        ours = self.samples[self.of]
        if not self.to:
            return statistics.median(ours), statistics.fmean(ours)
        theirs = self.samples[self.to]
        return (
            statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True)),
            statistics.median(ours) / statistics.median(theirs),
            statistics.fmean(ours) / statistics.fmean(theirs),
        )

    @property
    def verdict(self) -> str:
        """Return `met` or `missed`, if that is so by all averages."""
        if (target := self.target) is None:
            return ""
        met = {target.allows(value) for value in self.averages}
        return "undecided" if len(met) > 1 else "met" if met.pop() else "**missed**"

    @property
    def target(self) -> Target | None:
        """Return the target of the figure, or of its ratio."""
        return TARGETS.get(self.name) if self.of == SERVICE else AS_CHEAP


@dataclass(frozen=True, slots=True)
class Report:
    """A run.

    Attributes:
        when: Its start, in UTC.
        machine: System, processors, other load, servers.
        cpu: Processor time per request, by operation.
        database: The same of PostgreSQL.
        figures: Everything else.
        growth: Figures by the size of something, in place of servers.
    """

    when: str
    machine: dict[str, str]
    versions: dict[str, str]
    cpu: list[Row] = field(default_factory=list)
    database: list[Row] = field(default_factory=list)
    figures: list[Row] = field(default_factory=list)
    growth: list[Row] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the report with a line for each row."""
        parts = []
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, list):
                lines = ",\n".join(
                    f"  {json.dumps(_rounded(row), ensure_ascii=False)}" for row in value
                )
                parts.append(f' "{each.name}": [\n{lines}\n ]')
            else:
                parts.append(f' "{each.name}": {json.dumps(value, ensure_ascii=False)}')
        return "{\n" + ",\n".join(parts) + "\n}\n"

    def to_markdown(self) -> str:
        """Return the report as tables."""
        machine = "; ".join(f"{name}: {value}" for name, value in self.machine.items())
        parts = [f"{self.when}. {machine}."]
        if self.cpu:
            parts.append("CPU of all processes of the service, µs per request:")
            parts.append(_wide_table(self.cpu, judged=True))
            parts.append("CPU of PostgreSQL for it, µs per request:")
            parts.append(_wide_table(self.database, judged=False))
        if self.figures:
            parts.append(_long_table(self.figures))
        if self.growth:
            parts.append("Growth:")
            parts.append("\n".join(map(_points, self.growth)))
        return "\n\n".join(parts)


def _rounded(row: Row) -> dict[str, Any]:
    content = asdict(row)
    content["samples"] = {
        name: [float(f"{value:.5g}") for value in values] for name, values in row.samples.items()
    }
    return content


def _wide_table(rows: Sequence[Row], *, judged: bool) -> str:
    """Return a table with a column for each server."""
    servers = list(dict.fromkeys(name for row in rows for name in row.samples))
    others = [name for name in servers if name not in {SERVICE, FLOOR}]
    head = ["operation", SERVICE, FLOOR, "ratio", "target", "verdict", *others]
    lines = []
    for row in rows:
        judgement = (_ratio(row), _target(row), row.verdict)
        cells = [row.name, _cell(row, SERVICE), _cell(row, FLOOR), *judgement]
        lines.append([*cells, *(_cell(row, name) for name in others)])
    if not judged:
        head[3:6], lines = ["ratio"], [[*line[:4], *line[6:]] for line in lines]
    return _markdown(head, lines)


def _long_table(rows: Sequence[Row]) -> str:
    """Return a table with a line for each comparison."""
    head = ["figure", "unit", "value", "compared with", "ratio", "target", "verdict"]
    lines = []
    for row in rows:
        other = f"{row.to}: {_cell(row, row.to)}" if row.to else ""
        note = f" ({EXPLANATIONS[row.name]})" if row.name in EXPLANATIONS else ""
        value = _cell(row, row.of) if row.of == SERVICE else f"{row.of}: {_cell(row, row.of)}"
        cells = (row.name + note, row.unit, value, other, _ratio(row) if row.to else "")
        lines.append([*cells, _target(row), row.verdict])
    return _markdown(head, lines)


def _points(row: Row) -> str:
    points = "; ".join(f"{name}: {_cell(row, name)}" for name in row.samples)
    return f"- {row.name} ({row.unit}): {points}"


def _markdown(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    head = list(head)
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cell(row: Row, server: str) -> str:
    """Return the median of a server's samples, the least and the greatest."""
    if server not in row.samples:
        return ""
    values = row.samples[server]
    if min(values) == max(values):
        return _short(values[0])
    middle = statistics.median(values)
    return f"{_short(middle)} ({_short(min(values))} to {_short(max(values))})"


def _ratio(row: Row) -> str:
    first, *others = row.averages
    low, high = min(first, *others), max(first, *others)
    spread = "" if f"{low:.2f}" == f"{high:.2f}" else f" ({low:.2f} to {high:.2f})"
    return f"{first:.2f}{spread}"


def _target(row: Row) -> str:
    return "" if row.target is None else str(row.target)


def _short(value: float) -> str:
    digits = 0 if value >= 100 or value == round(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def with_result(readme: str, result: str) -> str:
    """Return the README with another last result.

    Raises:
        ValueError: It has no place for one.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{result}\n\n{END}{after}"
