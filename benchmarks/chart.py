"""The report as a picture: ratios to the floor as bars, growth as lines; SVG, written by hand."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.measures import Curve, Row

_WIDTH = 860
_BAR = 26
_LABELS = 330
_CURVE_HEIGHT = 150
_MET, _MISSED, _INK, _FAINT = "#2f7d5b", "#b8452f", "#24292f", "#8c959f"


def chart(rows: Sequence[Row], curves: Sequence[Curve]) -> str:
    """Return a picture of the rows and the curves."""
    parts: list[str] = []
    y = 40.0
    parts.append(_text(10, 22, "Ratio to what it is compared with; the mark is the target", 15))
    most = max([row.ratio for row in rows if math.isfinite(row.ratio)] + [2.0])
    scale = (_WIDTH - _LABELS - 90) / most
    for row in rows:
        parts += _bar(row, y, scale)
        y += _BAR
    for curve in curves:
        y += 34
        parts += _curve(curve, y)
        y += _CURVE_HEIGHT + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 20:.0f}" '
        f'viewBox="0 0 {_WIDTH} {y + 20:.0f}" font-family="system-ui, sans-serif">'
    )
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, background, *parts, "</svg>", ""])


def _bar(row: Row, y: float, scale: float) -> list[str]:
    ratio = row.ratio if math.isfinite(row.ratio) else 0.0
    mark = _LABELS + row.at_most * scale
    return [
        _text(10, y + 16, row.name, 13),
        _rect(_LABELS, y + 4, ratio * scale, _BAR - 10, _MET if row.met else _MISSED),
        _line(((mark, y), (mark, y + _BAR - 2)), _INK),
        _text(max(_LABELS + ratio * scale, mark) + 8, y + 16, f"{row.ratio:.2f}", 13),
    ]


def _curve(curve: Curve, top: float) -> list[str]:
    left, right, bottom = 80.0, _WIDTH - 40.0, top + _CURVE_HEIGHT
    xs = [math.log10(max(x, 1)) for x, _ in curve.points]
    highest = max(y for _, y in curve.points) * 1.15 or 1.0
    span = (max(xs) - min(xs)) or 1.0
    places = [
        (left + (x - min(xs)) / span * (right - left), bottom - y / highest * _CURVE_HEIGHT)
        for x, (_, y) in zip(xs, curve.points, strict=True)
    ]
    parts = [
        _text(10, top - 10, f"{curve.name} ({curve.y_unit})", 13),
        _line(((left, top), (left, bottom), (right, bottom)), _FAINT),
        _line(places, _MET),
    ]
    for (x, y), (number, value) in zip(places, curve.points, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_MET}"/>')
        parts.append(_text(x - 8, y - 8, f"{value:,.4g}", 11))
        parts.append(_text(x - 8, bottom + 15, f"{number:,g}", 11))
    parts.append(_text(right - 120, bottom + 15, curve.x_unit, 11, anchor="end"))
    return parts


def _text(x: float, y: float, words: str, size: int, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{_INK}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>'


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
