"""What agent code asks of the run it is in: who it is, how long its journal has become, that it starts afresh.

Owns the current run as a context variable of the durable loop. `service.py` executes it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextvars import ContextVar, copy_context
from datetime import timedelta
from typing import Any, NoReturn, Protocol

from app import durable
from app.background.declare.operation import to_json
from app.background.run.info import CONTINUE_AS_NEW_AFTER, AgentInfo
from app.errors import DefinitionError, DeterminismError

_UNSET: Any = object()


class ContinueAsNew(BaseException):
    """`run` asks to start afresh. It is no Exception, so that `except Exception` in an agent does not stop it."""

    def __init__(self, next_input: Any, *, keeps_input: bool) -> None:
        super().__init__("continue as new")
        self.input = next_input
        self.keeps_input = keeps_input


class _Events(Protocol):
    def all_finished(self) -> bool: ...


class Run:
    """The run that the code is in."""

    def __init__(self, info: AgentInfo) -> None:
        self.info = info
        self.main = asyncio.current_task()
        self._loop = durable.current_loop()
        self.events: _Events | None = None
        self.served: set[str] = set()  # task queues that were asked for; only `in` is used, which has no order

    @property
    def entries(self) -> int:
        """About how many entries the journal of this run has. A query may ask too, from outside of the loop."""
        return self._loop.entries


_current: ContextVar[Run] = ContextVar("background_run")


def enter(run: Run) -> None:
    """Make `run` the current one for this task and all that it starts."""
    _current.set(run)


def current_run() -> Run:
    """Return the current run. Errors: DeterminismError outside of an agent."""
    try:
        return _current.get()
    except LookupError:
        raise DeterminismError("No agent runs here; this works only in what an agent's `run` or event calls") from None


def agent_info() -> AgentInfo:
    """Return what the agent knows of itself: agent_id, run_id, task_queue, run_number, parent_id, input."""
    return current_run().info


def uuid() -> str:
    """Return a new unique id. Durable: a replay returns the same."""
    current_run()
    return str(durable.current_loop().ctx.uuid())


async def sleep(seconds: float | timedelta) -> None:
    """Wait. Units: seconds, or a timedelta; it may be months.  Durable: a timer of the engine."""
    await asyncio.sleep(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)


async def condition(
    fn: Callable[[], object], timeout: timedelta | float | None = None, *, timeout_summary: str | None = None
) -> None:
    """Wait until `fn()` is true. It is asked again whenever the agent has done something.

    Units: timeout is a timedelta or seconds, None waits for ever.
    Durable: no journal entry of its own, with a timeout one timer.
    Errors: TimeoutError; what `fn` raises.
    """
    del timeout_summary  # timers have no text in Restate's UI
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    context = copy_context()  # the loop asks between tasks, where the run and its handlers are not known
    await durable.condition(lambda: context.run(fn), timeout_s=seconds)


def all_events_finished() -> bool:
    """Return whether no event handler is busy, but for the one that asks."""
    events = current_run().events
    return events is None or events.all_finished()


def should_continue_as_new() -> bool:
    """Return whether the journal of this run has become long: near 2000 entries."""
    return current_run().entries >= CONTINUE_AS_NEW_AFTER


class _Never(Awaitable[NoReturn]):
    """What `await agent_continue_as_new()` would wait for, if the call returned."""

    def __await__(self) -> Generator[Any, Any, NoReturn]:
        raise AssertionError("unreachable")
        yield


def continue_as_new(
    arg: Any = _UNSET,
    *,
    args: Sequence[Any] = (),
    input: Any = _UNSET,  # noqa: A002 - the reference's name
) -> _Never:
    """End this run and start the next with the same id and an empty journal. Awaited or not, it does not return.

    Shapes: the next `run` gets `arg`, or `input`, or the only one of `args`, without any the same input again.
    Durable: events in flight finish first. Those that come meanwhile go to the next run, in order.
    Errors: UsageError if JSON cannot carry the input; DefinitionError outside of `run` itself.
    """
    if asyncio.current_task() is not current_run().main:
        raise DefinitionError("agent_continue_as_new() works in `run` only: set a field here that `run` waits for")
    given = next((value for value in (arg, input, *args) if value is not _UNSET), _UNSET)
    if given is _UNSET:
        raise ContinueAsNew(None, keeps_input=True)
    raise ContinueAsNew(to_json(given, "The input of agent_continue_as_new()"), keeps_input=False)
