"""Follows a chat until a goal is met: what a program is told meanwhile, in whatever words it is told.

Reads and watches; sends nothing, stops nothing.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from app.errors import AgentError
from app.live.events import Resync
from app.turns.reading.protocol import History, HistoryEntry
from app.web.agui.goal import End, Goal
from app.web.gateway import Gateway
from app.web.watch.events import ViewEvent

HISTORY_TURNS = 50  # of the chat that are read

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Telling(Protocol[T_co]):
    """Puts what happens into the words of a protocol. Each method returns what is to be sent."""

    def start(self, history: Iterable[HistoryEntry]) -> Sequence[T_co]: ...

    def take(self, event: ViewEvent) -> Sequence[T_co]: ...

    def catch_up(self, history: Iterable[HistoryEntry]) -> Sequence[T_co]: ...


class Following(Generic[T]):
    """`join` before anything is sent to the chat and `begin` after that, so that nothing is missed; then read `told`.

    `end` is how it has ended, None if this process ends first. `held` is let go by whoever has made it.
    """

    def __init__(self, gateway: Gateway, key: str, telling: Telling[T], held: AsyncExitStack) -> None:
        self._gateway = gateway
        self._key = key
        self._telling = telling
        self._held = held
        self._begun: list[T] = []
        self.end: End | None = None

    async def join(self) -> None:
        """Watch the chat from here on."""
        self._watcher = await self._held.enter_async_context(self._gateway.views.watch(self._key))
        self._joined = await self._watcher.join()

    async def begin(self, goal: Goal) -> None:
        """Read the chat so far, and follow it until `goal`. Errors: as Ingress.call."""
        self._goal = goal
        history = await self.history()
        self._begun += self._telling.start(history.entries)
        self.end = self._looked(history)
        for seen in self._joined:
            if not isinstance(seen, goal.reads_anew):  # the history is newer
                self.end = self.end or goal.take(seen)
                self._begun += self._telling.take(seen)

    async def told(self) -> AsyncGenerator[T, None]:
        """Yield what is to be sent, until the end."""
        for each in self._begun:
            yield each
        async with aclosing(self._gateway.until_ending(self._watcher)) as watched:
            while self.end is None and (seen := await anext(watched, None)) is not None:
                for each in await self._take(seen):
                    yield each

    async def _take(self, seen: ViewEvent) -> list[T]:
        told = list(self._telling.take(seen))
        self.end = self._goal.take(seen)
        if self._goal.in_doubt or isinstance(seen, Resync):
            with suppress(AgentError):  # while Restate is away the goal stays in doubt, and what follows asks again
                history = await self.history()
                told += self._telling.catch_up(history.entries)
                self.end = self.end or self._looked(history)
        return told

    def _looked(self, history: History) -> End | None:
        """Return the end if the history knows it, with what the turn used."""
        end = self._goal.look(history.entries, history.approvals or ())
        used = {each.turn_id: each.usage for each in history.turns or ()}
        return end if end is None or end.turn_id not in used else replace(end, usage=used[end.turn_id])

    async def history(self) -> History:
        """Return the last turns of the chat. Errors: as Ingress.call."""
        answer = await self._gateway.ingress.call(self._key, "get_chat_history", {"limit": HISTORY_TURNS})
        return History.model_validate(answer)
