"""The runs that are live in this process, and the queries that wait for one: an answer comes from its memory.

Knows of Restate only that a TerminalError ends a run. All of it happens on one event loop, and a run changes only
between two of its rests.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from restate import TerminalError

from app.background.failure import harmless
from app.background.query import Query, QueryAnswer

APPEARS_S = 2.0  # for a run that was woken to begin an attempt in this process; milliseconds if the machine is idle
ANSWERS_S = 10.0  # for it to replay, and to take the last event
ELSEWHERE_S = 30.0  # how long a run that did not come is not waited for again
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 1.0

Wake = Callable[[str], Coroutine[Any, Any, bool]]

logger = logging.getLogger("background")

ELSEWHERE = QueryAnswer(where="elsewhere")
OVER = QueryAnswer(where="over")


class Readable(Protocol):
    """What a query asks of a run."""

    @property
    def taken(self) -> int: ...
    def read(self, name: str, value: Any) -> Any: ...


class Attempt:
    """One attempt of a run in this process. `events` are there once the agent was made."""

    def __init__(self, runs: "LiveRuns", run_id: str) -> None:
        self._runs = runs
        self._run_id = run_id
        self._rested = False
        self.events: Readable | None = None

    def at_rest(self) -> None:
        """Answer the queries that wait: the run has done all that it knows of."""
        self._rested = True
        for waiting in self._runs.waiting(self._run_id):
            waiting.try_at(self)

    def can_answer(self, query: Query) -> bool:
        return self._rested and self.events is not None and self.events.taken >= query.through

    def answer(self, query: Query) -> QueryAnswer:
        """Return the value. Errors: what the state raises."""
        assert self.events is not None  # noqa: S101 - can_answer() says so
        return QueryAnswer(where="here", value=self.events.read(query.name, query.input))

    def end(self, answer: QueryAnswer) -> None:
        """Give all queries that wait the same answer."""
        for waiting in self._runs.waiting(self._run_id):
            waiting.settle(answer)


class _Waiting:
    """One query that waits."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self.answered: asyncio.Future[QueryAnswer] = asyncio.get_running_loop().create_future()
        self.seen = asyncio.Event()

    def try_at(self, attempt: Attempt) -> None:
        if not self.answered.done() and attempt.can_answer(self._query):
            try:
                self.answered.set_result(attempt.answer(self._query))
            except BaseException as exc:  # noqa: BLE001 - it belongs to who asked, not to the run
                self.answered.set_exception(harmless(exc))

    def settle(self, answer: QueryAnswer) -> None:
        if not self.answered.done():
            self.answered.set_result(answer)

    async def outcome(self, *, or_seen: bool, timeout_s: float) -> bool:
        """Wait for an answer, with `or_seen` also for an attempt. Return whether there is an answer."""
        waits: list[asyncio.Future[Any]] = [self.answered]
        if or_seen:
            waits.append(asyncio.ensure_future(self.seen.wait()))
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for extra in waits[1:]:
                extra.cancel()
        return self.answered.done()


class LiveRuns:
    """The attempts of this process by run, and who waits for them."""

    def __init__(self) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        self._wakes: dict[str, asyncio.Future[bool]] = {}
        self._elsewhere: dict[str, float] = {}

    def waiting(self, run_id: str) -> list[_Waiting]:
        return list(self._waiting.get(run_id, ()))

    @contextmanager
    def attempt(self, run_id: str) -> Iterator[Attempt]:
        """Be live for one attempt. A TerminalError, or no error at all, is the end of the run."""
        attempt = self._attempts[run_id] = Attempt(self, run_id)
        self._elsewhere.pop(run_id, None)
        for waiting in self.waiting(run_id):
            waiting.seen.set()
        try:
            yield attempt
        except TerminalError:
            attempt.end(OVER)
            raise
        else:
            attempt.end(OVER)
        finally:
            if self._attempts.get(run_id) is attempt:
                del self._attempts[run_id]

    async def ask(self, query: Query, wake: Wake) -> QueryAnswer:
        """Return what the run has in memory, once it has taken the event `through`.

        `wake` begins an attempt of a suspended run, and returns False for one that has ended.

        Shapes: where is `here` with the value, `elsewhere` if no attempt comes to this process, `over` if the run has
        ended, `blocked` with a sentence if it must not go on with this code.
        Errors: what the state raises.
        """
        now = asyncio.get_running_loop().time()
        attempt = self._attempts.get(query.run_id)
        if attempt is not None and attempt.can_answer(query):
            return attempt.answer(query)
        if attempt is None and self._elsewhere.get(query.run_id, 0) > now:
            return ELSEWHERE
        waiting = _Waiting(query)
        self._waiting.setdefault(query.run_id, []).append(waiting)
        try:
            return await self._await(query.run_id, waiting, wake, until=now + ANSWERS_S)
        finally:
            self._waiting[query.run_id].remove(waiting)
            if not self._waiting[query.run_id]:
                del self._waiting[query.run_id]

    async def _await(self, run_id: str, waiting: _Waiting, wake: Wake, *, until: float) -> QueryAnswer:
        loop = asyncio.get_running_loop()
        look_s = _FIRST_LOOK_S
        last_here = loop.time()
        while loop.time() < until:
            if run_id in self._attempts:
                last_here = loop.time()
                waiting.seen.set()
            elif loop.time() - last_here > APPEARS_S:
                self._note_elsewhere(run_id, loop.time() + ELSEWHERE_S)
                return ELSEWHERE
            else:
                waiting.seen.clear()
                woken = await self._wake(run_id, wake)
                if waiting.answered.done():
                    break
                if not woken:
                    return ELSEWHERE if woken is None else OVER
            # An attempt may end before it has taken the event, which is then on its way. And a run whose attempt has
            # just ended is not suspended yet: to wake it does nothing, so it is woken again.
            if await waiting.outcome(or_seen=not waiting.seen.is_set(), timeout_s=look_s):
                break
            look_s = min(2 * look_s, _LAST_LOOK_S)
        return waiting.answered.result() if waiting.answered.done() else ELSEWHERE

    async def _wake(self, run_id: str, wake: Wake) -> bool | None:
        """Wake a run once for all that wait for it. Return None if that cannot be done."""
        under_way = self._wakes.get(run_id)
        if under_way is None:
            under_way = self._wakes[run_id] = asyncio.ensure_future(wake(run_id))
            under_way.add_done_callback(lambda _: self._wakes.pop(run_id, None))
        await asyncio.wait((under_way,))
        if (problem := under_way.exception()) is not None:
            logger.warning("Cannot wake run %s to ask it. %s", run_id, problem)
            return None
        return under_way.result()

    def _note_elsewhere(self, run_id: str, until: float) -> None:
        if len(self._elsewhere) > 10_000:  # about 1 MB
            self._elsewhere.clear()
        self._elsewhere[run_id] = until


live_runs = LiveRuns()
