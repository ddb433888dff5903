"""What a benchmark found: named figures with a bar, as a table and as JSON."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


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
    def holds(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    @property
    def bar(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""


@dataclass(frozen=True)
class Comparison:
    """One figure of two checkouts, measured in the same run."""

    name: str
    unit: str
    other: float
    ours: float

    @property
    def ratio(self) -> float:
        return self.ours / self.other


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


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return two checkouts side by side as a Markdown table."""
    rows = ["| measured | other | this | ratio |", "| --- | ---: | ---: | ---: |"]
    rows += [f"| {c.name} | {c.other:.1f} {c.unit} | {c.ours:.1f} {c.unit} | {c.ratio:.2f} |" for c in comparisons]
    return "\n".join(rows)


def write_json(figures: Sequence[Figure], path: Path) -> None:
    path.write_text(json.dumps([{**asdict(figure), "holds": figure.holds} for figure in figures], indent=1) + "\n")
