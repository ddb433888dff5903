"""`python -m tests.bench [part …]`: run the benchmarks, print the table, write bench.json."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from app.hosting.stack import find_restate_server
from tests.bench import background, capacity, chat
from tests.bench.compare import compare
from tests.bench.figures import Figure, comparison_table, table, write_json

Part = Callable[[Any], Awaitable[list[Figure]]]

CHAT_PARTS: dict[str, Part] = {
    "interrupts": chat.interrupts,
    "turns": chat.turns,
    "throughput": chat.throughput,
    "history": chat.history,
    "incorporate": lambda bench: chat.nothing_lost(bench, "INCORPORATE"),
    "queue": lambda bench: chat.nothing_lost(bench, "QUEUE"),
}
PARTS = [*CHAT_PARTS, *background.PARTS, *capacity.PARTS]


async def main(parts: list[str], baseline: Path | None) -> int:
    """Run `parts` (all if none are named); return 1 if a bar is missed, 2 for a part that is not known.

    With a `baseline`, another checkout, compare the two instead.
    """
    if unknown := set(parts) - set(PARTS):
        print(f"{', '.join(sorted(unknown))} not known; choose from: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    binary = find_restate_server(os.environ.get("RESTATE_SERVER"))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        if baseline is not None:
            print(comparison_table(await compare(binary, Path(folder), baseline)))
            return 0
        benches: tuple[tuple[Any, dict[str, Part]], ...] = (
            (chat.running, CHAT_PARTS),
            (background.running, background.PARTS),
            (capacity.running, capacity.PARTS),
        )
        for running, known in benches:
            wanted = [part for part in parts or PARTS if part in known]
            if wanted:
                async with running(binary, Path(folder)) as bench:
                    for part in wanted:
                        print(f"{part} …", file=sys.stderr, flush=True)
                        figures += await known[part](bench)
    print(table(figures))
    write_json(figures, Path("bench.json"))
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    other = os.environ.get("BASELINE")
    sys.exit(asyncio.run(main(sys.argv[1:], Path(other).resolve() if other else None)))
