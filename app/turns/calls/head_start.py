"""First LLM calls with a head start: they begin while the run that will make them is on its way.

A run begins milliseconds after it was sent, as it goes through the engine's log. Who sends it from this process knows
what it will ask, so the request goes out at once. The run takes that call if it asks for exactly the same, and else
makes its own: a replay, a run in another process, one that finds another memory. Nothing durable depends on this. A
call that no run takes is aborted; for a while none begins then, as each of them costs tokens.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import groupby
from operator import itemgetter

from app.durable import get_logger
from app.llm import Reply, get_llm
from app.settings import get_settings
from app.turns.compaction.view import Listener, View
from app.turns.memory import Memory
from app.turns.protocol import TurnStart
from app.turns.transcript import Item

Ask = Callable[[View, Sequence[Item], Listener], Awaitable[Reply]]

TAKEN_WITHIN_S = 5.0  # from the sending of a run to its first LLM call; a busy engine takes some of it
PAUSE_S = 600.0  # after a call that no run took: the runs of this chat service may be in other processes
MAX_MEMORIES = 200  # of chats, the last ones that a run of this process has written

logger = get_logger("agent_session")


class _Kept:
    """Keeps what an LLM says until a run listens, and tells it from there on."""

    def __init__(self) -> None:
        self._pieces: list[tuple[bool, str]] = []
        self._listener: Listener | None = None

    def __call__(self, text: str) -> None:
        self._add(False, text)

    def thought(self, text: str) -> None:
        self._add(True, text)

    def listen(self, listener: Listener) -> None:
        self._listener = listener
        for thought, pieces in groupby(self._pieces, key=itemgetter(0)):
            self._add(thought, "".join(text for _, text in pieces))

    def _add(self, thought: bool, text: str) -> None:
        if self._listener is None:
            self._pieces.append((thought, text))
        elif thought:
            self._listener.thought(text)
        else:
            self._listener(text)


class _Call:
    """An LLM call that has begun; what it says is kept until the run listens."""

    def __init__(self, view: View, items: tuple[Item, ...], ask: Ask) -> None:
        self._view = view
        self._items = items
        self._kept = _Kept()
        # Not the context of the handler that sent the run: its log, for one, knows replays.
        self._reply = asyncio.get_running_loop().create_task(self._asked(ask), context=Context())
        self._reply.add_done_callback(_looked_at)

    def is_of(self, view: View, items: tuple[Item, ...]) -> bool:
        """Return whether the LLM was told just this."""
        return self._items == items and self._view.shows_the_same(view)

    async def reply(self, listener: Listener) -> Reply:
        """Return the reply, as if the call were made now; who cancels this aborts it."""
        self._kept.listen(listener)
        return await self._reply

    def abort(self) -> None:
        self._reply.cancel()

    async def _asked(self, ask: Ask) -> Reply:
        return await ask(self._view, self._items, self._kept)


class _Expected:
    """A run that was sent, and its first call once the memory is known that it will find."""

    def __init__(self, start: TurnStart, late: asyncio.TimerHandle) -> None:
        self.start = start
        self.late = late
        self.loop = asyncio.get_running_loop()
        self.call: _Call | None = None

    def end(self) -> _Call | None:
        self.late.cancel()
        return self.call


class HeadStarts:
    """The head starts of one process: at most one for each chat, that of the run which was sent last."""

    def __init__(self) -> None:
        self._ask: Ask | None = None
        self._expected: dict[str, _Expected] = {}
        self._memories: OrderedDict[str, Memory] = OrderedDict()
        self._paused_until = 0.0

    def serve(self, ask: Ask) -> None:
        """Give head starts from here on: the runs of this process make their LLM calls by `ask`."""
        self._ask = ask

    def expect(self, key: str, start: TurnStart) -> None:
        """Begin the first call of a run that is being sent, as soon as it is known what it will ask."""
        self.drop(key)
        loop = asyncio.get_running_loop()
        here = (
            self._ask is not None and get_settings().head_starts and get_settings().workers == 1
        )  # else it mostly runs in another process
        if not (here and start.messages and start.memory) or loop.time() < self._paused_until:
            return
        self._expected[key] = _Expected(start, loop.call_later(TAKEN_WITHIN_S, self._not_taken, key))
        self._begin(key)

    def remember(self, key: str, memory: Memory) -> None:
        """Note what the next run of a chat finds in memory. May be told from durable code, which has another loop."""
        self._memories[key] = memory
        self._memories.move_to_end(key)
        if len(self._memories) > MAX_MEMORIES:
            self._memories.popitem(last=False)
        if (expected := self._expected.get(key)) is not None:
            expected.loop.call_soon(self._begin, key)

    def drop(self, key: str) -> None:
        """Abort the head start of a chat, whose run is recalled or sent again."""
        expected = self._expected.pop(key, None)
        if expected is not None and (call := expected.end()) is not None:
            call.abort()

    def forget(self, key: str) -> None:
        """Drop all that is known of a chat."""
        self.drop(key)
        self._memories.pop(key, None)

    async def reply(
        self, key: str, turn_id: int, view: View, items: tuple[Item, ...], listener: Listener, ask: Ask
    ) -> Reply:
        """Return the LLM's reply to `items`: of the call that has begun for this turn, if it was told the same."""
        call = self._take(key, turn_id, view, items)
        return await (ask(view, items, listener) if call is None else call.reply(listener))

    def _take(self, key: str, turn_id: int, view: View, items: tuple[Item, ...]) -> _Call | None:
        expected = self._expected.get(key)
        if expected is None or expected.start.turn_id != turn_id:
            return None
        del self._expected[key]
        call = expected.end()
        if call is not None and not call.is_of(view, items):
            call.abort()
            self._pause(key, "it asks for something else")
            return None
        return call

    def _begin(self, key: str) -> None:
        expected = self._expected.get(key)
        if expected is None or expected.call is not None or self._ask is None:
            return
        memory, named = self._memories.get(key, Memory()), expected.start.memory
        if named is None or not named.is_met_by(memory.ref) or _must_wait():
            return
        found = memory.as_expected(named)
        expected.call = _Call(View(found.history(), found.summary, caller=key), expected.start.messages, self._ask)

    def _not_taken(self, key: str) -> None:
        begun = self._expected[key].call is not None
        self.drop(key)
        if begun:
            self._pause(key, f"it did not begin here within {TAKEN_WITHIN_S:g} s")

    def _pause(self, key: str, why: str) -> None:
        self._paused_until = asyncio.get_running_loop().time() + PAUSE_S
        logger.info(
            "The first LLM call of a run for %s was begun in vain: %s. For %d minutes none gets a head start.",
            key,
            why,
            PAUSE_S // 60,
        )


def _must_wait() -> bool:
    """Return whether calls wait for their turn: this one must not be ahead of them."""
    settings = get_settings()
    return bool(settings.llm_requests_per_min or settings.llm_tokens_per_min) and get_llm().makes_wait


def _looked_at(reply: asyncio.Task[Reply]) -> None:
    """Look at an error, which asyncio would report if no run ever takes the call."""
    if not reply.cancelled():
        reply.exception()


# Those of this process. Without `serve` there are none.
head_starts = HeadStarts()
