"""What is measured on ours alone in a side-by-side run: a long reply, long chats and reading them.

Each part sets a thing beside its like in the same minutes, so these are ratios too, except for the CPU of a reply.
"""

import statistics
import time
from collections.abc import Awaitable, Callable

from tests.bench.contender import CLOSELY, NOW_AND_THEN, Contender, Look
from tests.bench.figures import Figure
from tests.bench.messages import message
from tests.bench.usage import cpu_seconds

CHUNKS = 500
CHARS_PER_CHUNK = 5
QUEUED = 25  # messages that wait at the same time, while a chat is made long
# What the client looks at until the turn has ended: a long page takes long itself.
LOOKS = {"looking at all": CLOSELY, "looking at the last": Look(CLOSELY.every_s, {"limit": 1})}
READS = ("get_status", "get_chat_history")


async def long_replies(ours: Contender, rounds: int = 3, batch: int = 15) -> list[Figure]:
    """Measure what the service's process pays for a reply of 500 chunks more than for one of a single chunk."""
    [key] = await ours.new_chats(1)
    chars = CHUNKS * CHARS_PER_CHUNK

    async def cost(chunks: int) -> float:
        began = cpu_seconds(ours.service.pid)
        for _ in range(batch):
            await ours.turn(key, message(ours.new_token(), reply_chars=chars, chunks=chunks), NOW_AND_THEN)
        return cpu_seconds(ours.service.pid) - began

    extra = [(await cost(CHUNKS) - await cost(1)) / batch for _ in range(rounds)]
    name = f"CPU of a reply in {CHUNKS} chunks"
    return [Figure(name, 1000 * statistics.median(extra), "ms", at_most=12, samples=rounds * batch)]


async def long_chats(ours: Contender, sizes: tuple[int, ...] = (2000, 5000), rounds: int = 25) -> list[Figure]:
    """Measure turns at the end of a long chat beside turns of chats of 20 messages, and reads beside ones of 10."""
    long, figures, said = ours.new_token(), [], 0
    for size in sizes:
        await _say_many(ours, long, (size - said) // 2)
        said = size + 2 * rounds * len(LOOKS)
        for said_of_it, look in LOOKS.items():
            ratio = await _long_to_short(ours, long, look, rounds)
            name = f"a turn at {size} messages / at 20, {said_of_it}"
            figures.append(Figure(name, ratio, "×", at_most=1.2, samples=rounds))
    return figures + await _reads(ours, long, sizes[-1])


async def _long_to_short(ours: Contender, long: str, look: Look, rounds: int) -> float:
    """Return the ratio of turns of a long chat to turns of chats of 20 messages, one each in turn."""
    at_end, at_start = [], []
    for key in await ours.new_chats(rounds, turns=10):
        at_end.append((await ours.turn(long, look=look)).whole_s)
        at_start.append((await ours.turn(key, look=look)).whole_s)
    return statistics.median(at_end) / statistics.median(at_start)


async def _reads(ours: Contender, long: str, size: int, rounds: int = 100) -> list[Figure]:
    [short] = await ours.new_chats(1, turns=5)
    figures = []
    for handler in READS:
        seconds: dict[str, list[float]] = {long: [], short: []}
        for _ in range(rounds):
            for key, samples in seconds.items():
                began = time.monotonic()
                await ours.call(key, handler)
                samples.append(time.monotonic() - began)
        ratio = statistics.median(seconds[long]) / statistics.median(seconds[short])
        figures.append(Figure(f"{handler} at {size} messages / at 10", ratio, "×", at_most=1.5, samples=rounds))
    return figures


async def _say_many(ours: Contender, key: str, turns: int) -> None:
    """Have many turns in one chat, queued in batches: nobody looks at how long they take."""
    while turns > 0:
        count = min(turns, QUEUED)
        texts = [message(ours.new_token()) for _ in range(count)]
        for text in texts:
            await ours.say(key, text, mode="QUEUE")
        await ours.answered(key, texts[-1], NOW_AND_THEN)
        turns -= count


PARTS: dict[str, Callable[[Contender], Awaitable[list[Figure]]]] = {
    "long-replies": long_replies,
    "long-chats": long_chats,
}
