"""`python -m tests.bench [part …]`: run the benchmarks, print the tables, write bench.json.

With REFERENCE or BASELINE in the environment, beside the original example or another checkout of ours.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from app.errors import UsageError
from app.hosting.stack import find_restate_server
from tests.bench import background, bars, capacity, chat, floor, live, ours, ours_alone, reference, side_by_side
from tests.bench.compare import FLOOR, OTHER, OURS, alternate, comparisons
from tests.bench.contender import Launcher, running
from tests.bench.figures import Comparison, Figure, comparison_table, table, write_json

Part = Callable[[Any], Awaitable[list[Figure]]]

CHAT_PARTS: dict[str, Part] = {
    "interrupts": chat.interrupts,
    "turns": chat.turns,
    "throughput": chat.throughput,
    "history": chat.history,
    "incorporate": lambda bench: chat.nothing_lost(bench, "INCORPORATE"),
    "queue": lambda bench: chat.nothing_lost(bench, "QUEUE"),
}
ROUNDS = 5


async def main(parts: list[str], settings: Mapping[str, str]) -> int:
    """Run `parts` (all if none are named); return 1 if a bar is missed, 2 if that cannot be asked for."""
    original, baseline = settings.get("REFERENCE"), settings.get("BASELINE")
    try:
        if original and baseline:
            raise UsageError("REFERENCE and BASELINE are two runs: give one of them")
        if original:
            return await beside_original(parts, Path(original))
        if baseline:
            return await beside_baseline(parts, Path(baseline))
        return await alone(parts)
    except UsageError as error:
        print(error.message, file=sys.stderr)
        return 2


async def alone(parts: list[str]) -> int:
    """Measure this checkout, in figures that hold on this machine."""
    check_known(parts, [*CHAT_PARTS, *background.PARTS, *capacity.PARTS, *live.PARTS])
    binary = find_restate_server(os.environ.get("RESTATE_SERVER"))
    figures: list[Figure] = []
    benches: tuple[tuple[Any, dict[str, Part]], ...] = (
        (chat.running, CHAT_PARTS),
        (background.running, background.PARTS),
        (capacity.running, capacity.PARTS),
        (live.running, live.PARTS),
    )
    with tempfile.TemporaryDirectory() as folder:
        for start, known in benches:
            wanted = [part for part in known if not parts or part in parts]
            if wanted:
                async with start(binary, Path(folder)) as bench:
                    for part in wanted:
                        tell(f"{part} …")
                        figures += await known[part](bench)
    print(table(figures))
    return conclude(figures)


async def beside_original(parts: list[str], checkout: Path) -> int:
    """Measure the original example, ours and the floor in one run, and ours by its bars."""
    server = os.environ.get("SERVER") or "hypercorn"
    if server not in bars.RATIOS:
        raise UsageError(f"SERVER={server!r} has no bars: choose from {', '.join(bars.RATIOS)}")
    launchers = {OTHER: reference.service(checkout), OURS: ours.service(), FLOOR: floor.launch}
    compared, own = await beside(parts, launchers, [*side_by_side.PARTS, *ours_alone.PARTS])
    compared = [each.judged(bars.RATIOS[server].get(each.name), bars.OWN.get(each.name)) for each in compared]
    print(comparison_table(compared, "the original"))
    if own:
        print("\n" + table(own))
    return conclude([*compared, *own])


async def beside_baseline(parts: list[str], checkout: Path) -> int:
    """Measure another checkout of ours and this one in one run; nothing is judged."""
    launchers = {OTHER: ours.service(checkout / "app" / "main.py"), OURS: ours.service()}
    compared, _ = await beside(parts, launchers, list(side_by_side.PARTS))
    print(comparison_table(compared, "the baseline"))
    return conclude(compared)


async def beside(
    parts: list[str], launchers: Mapping[str, Launcher], known: list[str]
) -> tuple[list[Comparison], list[Figure]]:
    """Run contenders at the same time and measure them in turn; return what they share, and what is of ours alone."""
    check_known(parts, known)
    binary = find_restate_server(os.environ.get("RESTATE_SERVER"))
    wanted = [part for part in known if not parts or part in parts]
    rounds = int(os.environ.get("ROUNDS") or ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        homes = {name: Path(folder, name) for name in launchers}
        for home in homes.values():
            home.mkdir()
        async with AsyncExitStack() as stack:
            contenders = {
                name: await stack.enter_async_context(running(launch, binary, homes[name], asks_llm=name != FLOOR))
                for name, launch in launchers.items()
            }
            shared = {part: side_by_side.PARTS[part] for part in wanted if part in side_by_side.PARTS}
            measured = await alternate(contenders, shared, rounds, tell)
            own: list[Figure] = []
            for part in wanted:
                if part in ours_alone.PARTS:
                    tell(f"{part} …")
                    own += await ours_alone.PARTS[part](contenders[OURS])
    return comparisons(measured), own


def check_known(parts: Collection[str], known: Collection[str]) -> None:
    """Refuse parts that do not exist.

    Errors: UsageError.
    """
    if unknown := set(parts) - set(known):
        raise UsageError(f"{', '.join(sorted(unknown))} not known; choose from: {', '.join(known)}")


def conclude(figures: Collection[Figure | Comparison]) -> int:
    """Write bench.json; return the exit code."""
    write_json(list(figures), Path("bench.json"))
    return 0 if all(figure.holds for figure in figures) else 1


def tell(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:], os.environ)))
