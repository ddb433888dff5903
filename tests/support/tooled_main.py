"""The application with tools of a test beside its own. Run as a file, in place of `app/main.py`.

What their steps do is a line each in the file `ledger` of the current folder: a test sees what was done, how often.
"""

import asyncio
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

# Run as a file, the first place of the path is this folder.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import app.tools
from app.durable import RetryPolicy, step
from app.tools.context import ToolContext
from app.tools.registry import by_name, tool

LEDGER = Path("ledger")


def enter(line: str) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(f"{line}\n")


def entered(line: str) -> int:
    return LEDGER.read_text().splitlines().count(line)


async def done(name: str, line: str) -> str:
    """Do something in a step, which the ledger shows."""

    async def act() -> str:
        enter(line)
        return line

    return await step(name, act, result_type=str)


@tool
async def where(call: ToolContext) -> dict[str, Any]:
    """Tell where it is called, after a nap."""

    async def look() -> int:
        call.progress("looking")
        enter(f"where {call.chat_key}")
        return 7

    await call.sleep(timedelta(milliseconds=50))
    return {"chat": call.chat_key, "turn": call.turn_id, "call": call.call_id, "saw": await call.step("look", look)}


@tool(retry=RetryPolicy(max_attempts=3, initial_interval=timedelta(milliseconds=10)))
async def flaky(name: str, call: ToolContext) -> str:
    """Fail twice, then work."""

    async def act() -> int:
        enter(f"flaky {name}")
        return entered(f"flaky {name}")

    attempt = await call.step("flaky", act)
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt}")
    return f"worked at attempt {attempt}"


@tool(timeout=timedelta(seconds=0.3))
async def slow(name: str, call: ToolContext) -> str:
    """Wait for longer than there is time."""
    await done("slow", f"slow {name}")
    await call.sleep(timedelta(seconds=60))
    return "never"


@tool(parallel=False)
async def alone(name: str) -> str:
    """Work alone."""
    await done("in", f"in {name}")
    await asyncio.sleep(0.05)
    await done("out", f"out {name}")
    return name


@tool
async def huge(megabytes: int) -> list[str]:
    """Return a lot."""
    return ["<script>alert(1)</script>" * 40] * (megabytes * 1000)


@tool(needs_approval=lambda amount, **_: amount > 10)
async def pay(amount: int, to: str) -> str:
    """Pay somebody. More than 10 must be approved."""
    return await done("pay", f"paid {amount} to {to}")


async def cancel(booking: str, what: str, chat: str) -> None:
    """Undo `book`: what begins with "stuck" cannot be, "shaky" only at the third attempt, "lasting" takes a while."""
    if what.startswith("lasting"):
        enter(f"begin {what} {chat}")
        await asyncio.sleep(1)
    enter(f"cancel {booking}")
    attempt = entered(f"cancel {booking}")
    if what.startswith("stuck") or (what.startswith("shaky") and attempt < 3):
        raise ConnectionError(f"attempt {attempt}")


@tool(compensate=cancel, retry=RetryPolicy(max_attempts=3, initial_interval=timedelta(milliseconds=10)))
async def book(what: str, chat: str) -> str:
    """Book something; what begins with "slow" is booked although it is cancelled meanwhile."""

    async def act() -> str:
        enter(f"booking {what} {chat}")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1 if what.startswith("slow") else 0)
        return f"{what} {chat}"

    return await step("book", act, result_type=str, salvage=True)


@tool
async def errand(name: str) -> str:
    """Run until the ledger says that it may end. What begins with "stubborn" does so also if it is cancelled."""

    async def allowed() -> bool:
        return entered(f"end {name}") > 0

    async def until_allowed() -> None:
        while not await step("look", allowed, result_type=bool):  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.05)

    await done("errand", f"errand {name}")
    try:
        await until_allowed()
    except asyncio.CancelledError:
        if name.startswith("stubborn"):
            await until_allowed()
        raise
    return f"the errand of {name} is done"


TOOLS = (where, flaky, slow, alone, huge, pay, book, errand)


if __name__ == "__main__":
    app.tools.TOOLS = by_name(*app.tools.TOOLS.values(), *TOOLS)  # before the rest of the house is imported
    from app.main import main

    raise SystemExit(main(sys.argv[1:]))
