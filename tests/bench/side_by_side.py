"""What is measured side by side: parts that take any contender and return figures, unjudged.

Parts measure chats that already had a turn. Every wait for the end of a turn is a look at the history.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import product

from tests.bench.contender import NOW_AND_THEN, Contender
from tests.bench.figures import Figure, median_ms
from tests.bench.messages import message
from tests.bench.usage import written_bytes
from tests.support.eventually import eventually
from tests.support.llm_server import LLMRequest

ABORTED = "message → LLM request aborted"
ASKED_NEXT = "message → next LLM request"
ASKED = "message → LLM request"
WHOLE_TURN = "a turn with an instant LLM"
TURNS_PER_SECOND = "turns per second, 32 chats that poll"
CPU_PER_TURN = "CPU of a turn, service and server"
INVOCATIONS = "invocations of a simple turn"
ENTRIES = "journal entries of a simple turn"

CONTEXT_CHARS = 23_000 * 4  # near to 24,000 tokens as ours estimates them; what items cost besides has room too
CONTEXT_TURNS = (1, 50)


def journaled(turns: int) -> str:
    """Return the name of the figure: what the journals of a turn take, at a full context of so many turns."""
    return f"journals of a turn, full context of {turns} turn{'s'[: turns - 1]}"


def on_disk(turns: int) -> str:
    """Return the name of the figure: what the server writes for a turn, at a full context of so many turns."""
    return f"written to disk for a turn, full context of {turns} turn{'s'[: turns - 1]}"


async def interrupts(contender: Contender, chats: int = 10, rounds: int = 4) -> list[Figure]:
    """Measure from the message that interrupts: the old LLM request aborted, the next one there."""
    aborted, asked_next = [], []
    for _, key in product(range(rounds), await contender.new_chats(chats)):
        slow, following = message(contender.new_token(), slow=True), message(contender.new_token())
        await contender.say(key, slow)
        old = await contender.request_with(slow)
        await asyncio.sleep(0.02)  # as people do: the turn is well under way
        sent = time.monotonic()
        await contender.say(key, following)
        asked_next.append((await contender.request_with(following)).arrived_at - sent)
        aborted.append(await contender.aborted(old) - sent)
        await contender.answered(key, following)
    return [median_ms(ABORTED, aborted), median_ms(ASKED_NEXT, asked_next)]


async def turns(contender: Contender, chats: int = 10, rounds: int = 10) -> list[Figure]:
    """Measure one turn with an LLM that answers at once: until its request, and until the answer is in the history."""
    keys = await contender.new_chats(chats)
    measured = [await contender.turn(key) for _, key in product(range(rounds), keys)]
    asked = [turn.asked_s for turn in measured if turn.asked_s is not None]
    figures = [median_ms(ASKED, asked)] if asked else []
    return [*figures, median_ms(WHOLE_TURN, [turn.whole_s for turn in measured])]


async def throughput(contender: Contender, chats: int = 32, rounds: int = 8) -> list[Figure]:
    """Measure turns per second with many chats at once, each waiting for its answer before it goes on."""
    keys = await contender.new_chats(chats)

    async def chat(key: str) -> None:
        for _ in range(rounds):
            await contender.turn(key, look=NOW_AND_THEN)

    began = time.monotonic()
    await asyncio.gather(*map(chat, keys))
    seconds = time.monotonic() - began
    return [Figure(TURNS_PER_SECOND, chats * rounds / seconds, "/s", samples=chats * rounds)]


async def cpu(contender: Contender, chats: int = 10, rounds: int = 10) -> list[Figure]:
    """Measure the CPU of turns one after the other, with few looks at the history."""
    keys = await contender.new_chats(chats)
    began = contender.cpu_s()
    for _, key in product(range(rounds), keys):
        await contender.turn(key, look=NOW_AND_THEN)
    per_turn = (contender.cpu_s() - began) / (chats * rounds)
    return [Figure(CPU_PER_TURN, 1000 * per_turn, "ms", samples=chats * rounds)]


async def journal(contender: Contender) -> list[Figure]:
    """Count the invocations of a turn in a chat that goes on, and the entries of their journals."""
    [key] = await contender.new_chats(1, turns=3)
    cost = await _unwatched_turn(contender, key)
    return [Figure(INVOCATIONS, cost.invocations, ""), Figure(ENTRIES, cost.entries, "")]


async def writes(contender: Contender, samples: int = 8) -> list[Figure]:
    """Measure what the server stores for a short turn when the context is full, of one long turn or of many."""
    figures = []
    for turns in CONTEXT_TURNS:
        key, chars = contender.new_token(), CONTEXT_CHARS // turns // 2
        for _ in range(turns):
            text = message(contender.new_token(), chars=chars, reply_chars=chars)
            await contender.turn(key, text, NOW_AND_THEN)
        await _quiet(contender, key)
        costs = [await _unwatched_turn(contender, key) for _ in range(samples)]
        stored = statistics.median(cost.stored_bytes for cost in costs)
        written = statistics.mean(
            cost.written_bytes for cost in costs
        )  # a page counts when it is full, so now and then
        figures += [Figure(journaled(turns), stored / 1000, "kB"), Figure(on_disk(turns), written / 1000, "kB")]
    return figures


@dataclass(frozen=True)
class _Cost:
    """What a turn has left behind at the server; invocations that are not kept are not counted."""

    invocations: int
    entries: int
    stored_bytes: int
    written_bytes: int


async def _unwatched_turn(contender: Contender, key: str) -> _Cost:
    """Have a turn and never look at the chat meanwhile: a look is an invocation too."""
    await _quiet(contender, key)
    before = await _invocations(contender, key)
    written = written_bytes(contender.restate.process.pid)
    text = message(contender.new_token())
    await contender.say(key, text)
    if contender.asks_llm:
        await _answered_by_llm(contender, await contender.request_with(text))
    await _quiet(contender, key)
    written = written_bytes(contender.restate.process.pid) - written
    ids = ", ".join(f"'{each}'" for each in await _invocations(contender, key) - before)
    [row] = await contender.restate.query(
        f"SELECT COUNT(*) AS n, SUM(raw_length) AS bytes FROM sys_journal WHERE id IN ({ids})"  # noqa: S608 - the server's ids
    )
    return _Cost(ids.count(",") + 1, row["n"], row["bytes"], written)


async def _answered_by_llm(contender: Contender, request: LLMRequest) -> None:
    await contender.llm.until(lambda: request.finished_at is not None)


async def _invocations(contender: Contender, key: str, condition: str = "true") -> set[str]:
    query = f"SELECT id FROM sys_invocation WHERE target_service_key = '{key}' AND {condition}"  # noqa: S608 - our own key
    return {row["id"] for row in await contender.restate.query(query)}


async def _quiet(contender: Contender, key: str) -> None:
    """Wait until no invocation of a chat is open."""

    async def none_open() -> bool:
        return not await _invocations(contender, key, "status <> 'completed'")

    await eventually(none_open, timeout_s=30)


@dataclass(frozen=True)
class Part:
    """A measurement; `once` if it counts what does not vary, `of_floor` if an empty chain has it too."""

    measure: Callable[[Contender], Awaitable[list[Figure]]]
    once: bool = False
    of_floor: bool = True


PARTS = {
    "interrupts": Part(interrupts, of_floor=False),
    "turns": Part(turns),
    "throughput": Part(throughput),
    "cpu": Part(cpu),
    "journal": Part(journal, once=True),
    "writes": Part(writes, once=True, of_floor=False),
}
