"""What a benchmark found: named figures with a bar, as a table and as JSON."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Bar:
    """What a value must keep; without a limit everything is good enough."""

    at_most: float | None = None
    at_least: float | None = None

    def holds(self, value: float) -> bool:
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""


@dataclass(frozen=True)
class Figure:
    """One measured number. `at_most` or `at_least` is the bar that it must keep; `samples` is what the median is of."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    samples: int = 1
    p95: float | None = None

    @property
    def bar(self) -> Bar:
        return Bar(self.at_most, self.at_least)

    @property
    def holds(self) -> bool:
        return self.bar.holds(self.value)


@dataclass(frozen=True)
class Comparison:
    """One figure of ours beside another's, measured in the same run. `ratio` is ours / other."""

    name: str
    unit: str
    other: float
    ours: float
    ratio: float
    floor: float | None = None
    ratio_bar: Bar = Bar()
    own_bar: Bar = Bar()

    def judged(self, ratio_bar: Bar | None, own_bar: Bar | None) -> "Comparison":
        """Return it with bars; None is no bar."""
        return replace(self, ratio_bar=ratio_bar or Bar(), own_bar=own_bar or Bar())

    @property
    def holds(self) -> bool:
        return self.ratio_bar.holds(self.ratio) and self.own_bar.holds(self.ours)


def median_ms(name: str, seconds: Sequence[float], *, at_most: float | None = None) -> Figure:
    """Return the median of durations, in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return Figure(name, statistics.median(ordered), "ms", at_most=at_most, samples=len(ordered), p95=p95)


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = ["| measured | median | p95 | bar |", "| --- | ---: | ---: | ---: |"]
    for figure in figures:
        mark = "" if figure.holds else " ✗"
        p95 = "" if figure.p95 is None else f"{figure.p95:.1f}"
        rows.append(f"| {figure.name} | {figure.value:.1f} {figure.unit}{mark} | {p95} | {figure.bar} |")
    return "\n".join(rows)


def comparison_table(comparisons: Sequence[Comparison], other: str) -> str:
    """Return ours beside `other` as a Markdown table; the floor is a column where it was measured."""
    with_floor = any(each.floor is not None for each in comparisons)
    rows = [
        f"| measured | {other} | ours | ratio | bar |{' floor |' if with_floor else ''}",
        f"| --- | ---: | ---: | ---: | ---: |{' ---: |' if with_floor else ''}",
    ]
    for each in comparisons:
        own = _marked(_with_unit(each.ours, each.unit), each.own_bar.holds(each.ours))
        ratio = _marked(f"{each.ratio:.2f}", each.ratio_bar.holds(each.ratio))
        bar = str(each.ratio_bar) or (f"{each.own_bar} {each.unit}".rstrip() if str(each.own_bar) else "")
        floor = "" if each.floor is None else _with_unit(each.floor, each.unit)
        row = f"| {each.name} | {_with_unit(each.other, each.unit)} | {own} | {ratio} | {bar} |"
        rows.append(f"{row} {floor} |" if with_floor else row)
    return "\n".join(rows)


def write_json(figures: Sequence[Figure | Comparison], path: Path) -> None:
    path.write_text(json.dumps([{**asdict(figure), "holds": figure.holds} for figure in figures], indent=1) + "\n")


def _marked(value: str, holds: bool) -> str:
    return value if holds else f"{value} ✗"


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if unit else f"{value:g}"
