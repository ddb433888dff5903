"""The application where a minute of the LLM's limits is eight seconds. Run as a file, in place of `app/main.py`.

Its tool `work` writes into the file `ledger` of the current folder when its step begins and when it ends.
"""

import asyncio
import sys
from pathlib import Path

# Run as a file, the first place of the path is this folder.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import app.tools
from app.durable import step
from app.llm import allowance
from app.tools.registry import by_name, tool

LEDGER = Path("ledger")
MINUTE_S = 8.0
HELD_S = 0.1


def enter(line: str) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(f"{line}\n")


@tool
async def work(name: str) -> str:
    """Work for a while."""

    async def act() -> str:
        enter(f"in {name}")
        await asyncio.sleep(0.2)
        enter(f"out {name}")
        return f"done {name}"

    return await step("work", act, result_type=str)


if __name__ == "__main__":
    allowance.MINUTE_S, allowance.HELD_S = MINUTE_S, HELD_S
    app.tools.TOOLS = by_name(*app.tools.TOOLS.values(), work)  # before the rest of the house is imported
    from app.main import main

    raise SystemExit(main(sys.argv[1:]))
