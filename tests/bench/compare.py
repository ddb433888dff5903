"""The same measurements on two checkouts in one run, alternating, so that a busy machine slows both: only ratios count.

The other checkout must have the handlers of this one; it runs with this environment's packages.
"""

import statistics
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench import chat
from tests.bench.figures import Comparison, Figure
from tests.support.service import MAIN

ROUNDS = 3

# Shorter than the benchmarks themselves: each is made six times.
_PARTS: tuple[chat.Benchmark, ...] = (
    lambda bench: chat.interrupts(bench, rounds=40),
    lambda bench: chat.turns(bench, rounds=100),
    lambda bench: chat.throughput(bench, rounds=8),
)


async def compare(binary: str, folder: Path, checkout: Path) -> list[Comparison]:
    """Measure this checkout and the one at `checkout`; the medians of three alternating rounds."""
    async with AsyncExitStack() as running:
        benches = {}
        for name, main in (("other", checkout / "app" / "main.py"), ("ours", MAIN)):
            (folder / name).mkdir()
            benches[name] = await running.enter_async_context(chat.running(binary, folder / name, main))
        measured: dict[str, dict[str, list[Figure]]] = {name: defaultdict(list) for name in benches}
        for _ in range(ROUNDS):
            for part in _PARTS:
                for name, bench in benches.items():
                    for figure in await part(bench):
                        measured[name][figure.name].append(figure)
    return [
        Comparison(name, ours[0].unit, _median(measured["other"][name]), _median(ours))
        for name, ours in measured["ours"].items()
    ]


def _median(figures: list[Figure]) -> float:
    return statistics.median(figure.value for figure in figures)
