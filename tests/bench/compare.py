"""Contenders beside each other in one run: every part on one after the other, in rounds, so that a busy machine slows
all of them. Only ratios count.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from tests.bench.contender import Contender
from tests.bench.figures import Comparison, Figure
from tests.bench.side_by_side import Part

OURS, OTHER, FLOOR = "ours", "other", "floor"

Measured = Mapping[str, Mapping[str, Sequence[Figure]]]  # contender → name of the figure → one figure a round


async def alternate(
    contenders: Mapping[str, Contender], parts: Mapping[str, Part], rounds: int, tell: Callable[[str], None]
) -> Measured:
    """Measure every part on every contender in rounds; who is first changes with the round."""
    measured: dict[str, dict[str, list[Figure]]] = {name: defaultdict(list) for name in contenders}
    for n in range(rounds):
        for title, part in parts.items():
            if part.once and n > 0:
                continue
            tell(f"round {n + 1} of {rounds}: {title} …")
            for name in list(contenders)[:: -1 if n % 2 else 1]:
                if part.of_floor or name != FLOOR:
                    for figure in await part.measure(contenders[name]):
                        measured[name][figure.name].append(figure)
    return measured


def comparisons(measured: Measured) -> list[Comparison]:
    """Return each figure of ours beside the other's: medians of the rounds, and the median of the rounds' ratios.

    A round's ratio is of two neighbours in time, so it stays the same on a machine that gets busy between rounds.
    """
    return [
        Comparison(
            name=name,
            unit=ours[0].unit,
            other=_median(other := measured[OTHER][name]),
            ours=_median(ours),
            floor=_median(floor) if (floor := measured.get(FLOOR, {}).get(name)) else None,
            ratio=statistics.median(_ratio(a, b) for a, b in zip(ours, other, strict=True)),
        )
        for name, ours in measured[OURS].items()
    ]


def _ratio(figure: Figure, other: Figure) -> float:
    """Return the ratio; there is none to nothing, such as what is written to a disk that is memory."""
    return figure.value / other.value if other.value else math.nan


def _median(figures: Sequence[Figure]) -> float:
    return statistics.median(figure.value for figure in figures)
