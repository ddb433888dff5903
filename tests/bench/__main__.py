"""`python -m tests.bench [part …]`: run the benchmarks, print the table, write bench.json."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from app.stack import find_restate_server
from tests.bench import chat
from tests.bench.figures import Figure, table, write_json

PARTS = {
    "interrupts": chat.interrupts,
    "turns": chat.turns,
    "throughput": chat.throughput,
    "history": chat.history,
    "incorporate": lambda bench: chat.nothing_lost(bench, "INCORPORATE"),
    "queue": lambda bench: chat.nothing_lost(bench, "QUEUE"),
}


async def main(parts: list[str]) -> int:
    """Run `parts` (all if none are named); return 1 if a bar is missed."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        async with chat.running(find_restate_server(os.environ.get("RESTATE_SERVER")), Path(folder)) as bench:
            for part in parts or PARTS:
                print(f"{part} …", file=sys.stderr, flush=True)
                figures += await PARTS[part](bench)
    print(table(figures))
    write_json(figures, Path("bench.json"))
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
