"""The run's side of the mailbox: takes events in order, gives each to its handler, answers who waits.

Knows handlers and awakeables, not what `run` does. Handlers interleave; they start in the order of their events.
"""

import asyncio
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from app.background.definition import AgentDefinition
from app.background.mail import tell_agent
from app.background.operation import to_json
from app.background.protocol import Event, Handled, RunStart, signal_of
from app.durable import condition, current_loop, get_logger, wait_for
from app.errors import AgentError, NotFound

ACK_EVERY = 100  # events; the mailbox keeps about so many that are handled already
GRACE = timedelta(minutes=1)  # for handlers that are still busy when `run` has ended

logger = get_logger("background")

_handling: ContextVar[int] = ContextVar("background_event", default=0)  # which event the code is in; 0 is `run`


class Events:
    """The events of one run; lives on the durable loop. `taken` is the number of the last one that was started."""

    def __init__(self, definition: AgentDefinition, instance: Any, start: RunStart, run_id: str) -> None:
        self._definition = definition
        self._instance = instance
        self._agent_id = start.agent_id
        self._run_id = run_id
        self._open: dict[int, asyncio.Task[None]] = {}
        self._acknowledged = start.after_seq
        self.taken = start.after_seq
        self._receiver = asyncio.create_task(self._receive())

    def all_finished(self) -> bool:
        """Return whether no handler is busy, but for the one that asks."""
        return set(self._open) <= {_handling.get()}

    def stop(self) -> None:
        """Take no more events; the mailbox keeps them for the next run."""
        self._receiver.cancel()

    async def finish(self) -> None:
        """Wait for the handlers that are busy."""
        while self._open:
            await asyncio.wait(list(self._open.values()))

    async def drain(self, last: int) -> None:
        """Take all events up to `last`, and settle."""
        await condition(lambda: self.taken >= last)
        await self.settle()

    async def settle(self) -> None:
        """Give the handlers that are busy a minute to finish, then cancel them."""
        if self._open:
            await asyncio.wait(list(self._open.values()), timeout=GRACE.total_seconds())
        self.cancel_handlers()
        await self.finish()

    def cancel_handlers(self) -> None:
        for task in self._open.values():
            task.cancel()

    async def _receive(self) -> None:
        while True:
            name = signal_of(self.taken + 1)
            event = await wait_for(current_loop().ctx.signal(name, type_hint=Event))
            self.taken = event.seq
            self._open[event.seq] = asyncio.create_task(self._handle(event), name=f"{event.role} {event.name}")

    async def _handle(self, event: Event) -> None:
        _handling.set(event.seq)
        try:
            answer = await self._answer(event)
        except asyncio.CancelledError:
            self._refuse(event, f"Agent {self._agent_id!r} ended before {event.name!r} was handled", 409)
        except Exception as exc:
            logger.exception("Agent %s: %s %s failed", self._agent_id, event.role, event.name)
            text = exc.message if isinstance(exc, AgentError) else f"{type(exc).__name__}: {exc}"
            self._refuse(event, text, getattr(exc, "status", 500))
        else:
            if event.reply is not None:
                current_loop().ctx.resolve_awakeable(event.reply, answer)
        del self._open[event.seq]
        self._acknowledge()

    async def _answer(self, event: Event) -> Any:
        handlers = self._definition.events if event.role == "event" else self._definition.states
        if event.name not in handlers:  # another deployment has sent it, where this class is not known
            raise NotFound(f"{self._definition.name} has no {event.role} {event.name!r}")
        operation = handlers[event.name]
        value = operation.function(self._instance, *operation.arguments(event.input))
        return to_json(await value if event.role == "event" else value, f"What {operation.title} returns")

    def _refuse(self, event: Event, text: str, status: int) -> None:
        if event.reply is not None:
            current_loop().ctx.reject_awakeable(event.reply, text, status)

    def _acknowledge(self) -> None:
        """Now and then, let the mailbox forget what is handled."""
        through = min(self._open) - 1 if self._open else self.taken
        if through - self._acknowledged >= ACK_EVERY:
            self._acknowledged = through
            tell_agent(current_loop().ctx, self._agent_id, "handled", Handled(run_id=self._run_id, through=through))
