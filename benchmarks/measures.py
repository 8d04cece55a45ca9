"""What was measured: samples, their medians, and what they come to beside those of the floor."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Samples:
    """One figure of one app, once for each round or turn."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How far the samples lie apart, as a part of their median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: one operation, by one figure.

    Attributes:
        name: What is done.
        unit: Of the figure.
        service: Of the generated service.
        floor: Of what it is compared with.
        at_most: The ratio to reach; at least, if `more_is_better`.
        more_is_better: Whether the figure is to be large.
        against: What it is compared with.
        remark: What one has to know.
        others: The same figure of further apps, by their names.
    """

    name: str
    unit: str
    service: Samples
    floor: Samples
    at_most: float
    more_is_better: bool = False
    against: str = "floor"
    remark: str = ""
    others: dict[str, Samples] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times the other figure this one is.

        Samples of one round lie next to each other, and what else the machine is at meets both: the
        ratio of each round is taken, and the middle one of these. Without rounds, it is that of
        the medians.
        """
        ours, floor = self.service.values, self.floor.values
        if not self.floor.median:
            return float("inf")
        if len(ours) == len(floor) and all(floor):
            return statistics.median(
                mine / by_hand for mine, by_hand in zip(ours, floor, strict=True)
            )
        return self.service.median / self.floor.median

    @property
    def met(self) -> bool:
        """Whether that is as it should be."""
        return self.ratio >= self.at_most if self.more_is_better else self.ratio <= self.at_most


@dataclass(frozen=True, slots=True)
class Curve:
    """How a figure grows.

    Attributes:
        name: What is done.
        x_unit: Of what there is more and more.
        y_unit: Of the figure.
        points: Both, the former rising.
    """

    name: str
    x_unit: str
    y_unit: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of a run.

    Attributes:
        when: The moment, in UTC.
        machine: What it ran on, and how busy that was with other things.
        versions: Of what the apps run on.
        rounds: How often what takes longer than a second was taken.
        rows: The table.
        curves: Growth.
        seconds: What making a project takes, by step, or why that is not known.
    """

    when: str
    machine: dict[str, str]
    versions: dict[str, str]
    rounds: int
    rows: list[Row]
    curves: list[Curve]
    seconds: dict[str, float | str]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Report":
        """Return the report that `as_json` has written."""
        return cls(
            **{
                **content,
                "rows": [_row(each) for each in content["rows"]],
                "curves": [
                    Curve(**{**each, "points": tuple(map(tuple, each["points"]))})
                    for each in content["curves"]
                ],
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for machines, ratios included."""
        content = asdict(self)
        for row, written in zip(self.rows, content["rows"], strict=True):
            written |= {"ratio": round(row.ratio, 3), "met": row.met}
        return content


def _row(written: Mapping[str, Any]) -> Row:
    content = {key: value for key, value in written.items() if key not in {"ratio", "met"}}
    samples = {key: _samples(content[key]) for key in ("service", "floor")}
    others = {name: _samples(each) for name, each in content["others"].items()}
    return Row(**{**content, **samples, "others": others})


def _samples(written: Mapping[str, Any]) -> Samples:
    return Samples(tuple(written["values"]))


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| operation | unit | service | compared with | ratio | target | met |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        sign = "≥" if row.more_is_better else "≤"
        cells = (
            row.name + (f" ({row.remark})" if row.remark else ""),
            row.unit,
            _short(row.service.median),
            f"{_short(row.floor.median)} ({row.against})",
            f"{row.ratio:.2f}",
            f"{sign} {row.at_most:g}",
            "yes" if row.met else "**no**",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def curve_table(curves: list[Curve]) -> str:
    """Return the curves as tables in Markdown, a line each."""
    lines = []
    for curve in curves:
        points = ", ".join(f"{x:,g}: {_short(y)}" for x, y in curve.points)
        lines.append(f"- {curve.name} ({curve.y_unit}, by {curve.x_unit}): {points}")
    return "\n".join(lines)


def seconds_table(seconds: Mapping[str, float | str]) -> str:
    """Return the steps of making a project as a table in Markdown."""
    lines = ["| making a project | seconds |", "| --- | ---: |"]
    for step, value in seconds.items():
        lines.append(f"| {step} | {value if isinstance(value, str) else _short(value)} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
