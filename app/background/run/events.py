"""The run's side of the mailbox: takes events in order, gives each to its handler, answers who waits.

Knows handlers and awakeables, not what `run` does. Handlers start in the order of their events, and interleave.
"""

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any, Literal

from app.background.declare.definition import AgentDefinition
from app.background.declare.operation import Operation, to_json
from app.background.failure import Interrupted, ends_attempt, harmless, status_of, text_of
from app.background.mailbox.addresses import HANDLED
from app.background.protocol import Event, Handled, RunStart
from app.background.run.addresses import signal_of
from app.durable import condition, current_loop, get_logger, wait_for
from app.errors import NotFound
from app.settings import get_settings

ACK_EVERY = 100  # events; the mailbox keeps about so many that are handled already

logger = get_logger("background")

_handling: ContextVar[int] = ContextVar("background_event", default=0)  # which event the code is in; 0 is `run`


class Events:
    """The events of one run. It lives on the durable loop. `taken` is the number of the last one that was started."""

    def __init__(self, definition: AgentDefinition, instance: Any, start: RunStart, run_id: str) -> None:
        self._definition = definition
        self._instance = instance
        self._agent_id = start.agent_id
        self._run_id = run_id
        self._open: dict[int, asyncio.Task[None]] = {}
        self._unanswered: dict[int, Event] = {}
        self._acknowledged = start.after_seq
        self._limits = start.limits_handlers
        self._context = copy_context()  # where the run is known
        self.taken = start.after_seq
        self._receiver = asyncio.create_task(self._receive())

    def all_finished(self) -> bool:
        """Return whether no handler is busy, but for the one that asks."""
        return set(self._open) <= {_handling.get()}

    def stop(self) -> None:
        """Take no more events. The mailbox keeps them for the next run."""
        self._receiver.cancel()

    def read(self, name: str, value: Any) -> Any:
        """Return what a state says of the agent as it is, outside of the durable loop.

        Errors: NotFound; what the state raises; DeterminismError if it asks the engine for something.
        """
        operation = self._operation("state", name)
        try:
            answer = self._context.run(operation.function, self._instance, *operation.arguments(value))
            return to_json(answer, f"What {operation.title} returns")
        except asyncio.CancelledError as exc:  # nobody has cancelled whoever asks, or the run
            raise Interrupted("CancelledError") from exc
        except BaseException as exc:
            error = harmless(exc)
            if error is not exc:
                logger.exception("Agent %s: state %s failed", self._agent_id, name)
            raise error from error.__cause__

    async def finish(self) -> bool:
        """Take no more events and wait for busy handlers, as long as the grace. Return False if some go on."""
        self.stop()
        if self._limits:
            return await self.settle()
        while self._open:
            await asyncio.wait(list(self._open.values()))
        return True

    async def drain(self, last: int) -> bool:
        """Take all events up to `last`, and settle. Return False if some handlers go on."""
        await condition(lambda: self.taken >= last)
        return await self.settle()

    async def settle(self) -> bool:
        """Wait for busy handlers, then cancel them and wait as long again. Return False if some go on."""
        grace_s = get_settings().handler_grace_s
        if self._open:
            await asyncio.wait(list(self._open.values()), timeout=grace_s)
        self.cancel_handlers()
        while self._open:
            await asyncio.wait(list(self._open.values()), timeout=grace_s if self._limits else None)
            if self._open and self._limits:
                self._give_up()
                return False
        return True

    def cancel_handlers(self) -> None:
        for task in self._open.values():
            task.cancel()

    def _give_up(self) -> None:
        """Answer for the handlers that do not end although they were cancelled."""
        for seq, task in self._open.items():
            logger.error("Agent %s: %s goes on although it was cancelled: killed", self._agent_id, task.get_name())
            self._refuse(self._unanswered[seq], self._unfinished(self._unanswered[seq]), 409)

    async def _receive(self) -> None:
        while True:
            name = signal_of(self.taken + 1)
            event = await wait_for(current_loop().ctx.signal(name, type_hint=Event))
            self.taken = event.seq
            self._unanswered[event.seq] = event
            self._open[event.seq] = asyncio.create_task(self._handle(event), name=f"{event.role} {event.name}")

    async def _handle(self, event: Event) -> None:
        _handling.set(event.seq)
        try:
            answer = await self._answer(event)
            if event.reply is not None:
                current_loop().ctx.resolve_awakeable(event.reply, answer)
        except asyncio.CancelledError:
            self._refuse(event, self._unfinished(event), 409)
        except BaseException as exc:
            if ends_attempt(exc):
                raise
            logger.exception("Agent %s: %s %s failed", self._agent_id, event.role, event.name)
            self._refuse(event, text_of(exc), status_of(exc))
        finally:
            del self._open[event.seq], self._unanswered[event.seq]
            self._acknowledge()

    async def _answer(self, event: Event) -> Any:
        operation = self._operation(event.role, event.name)
        # Checked again: the mailbox may be in a process that does not know the class, or knows another version of it.
        value = operation.function(self._instance, *operation.arguments(event.input))
        return to_json(await value if event.role == "event" else value, f"What {operation.title} returns")

    def _operation(self, role: Literal["event", "state"], name: str) -> Operation:
        handlers = self._definition.events if role == "event" else self._definition.states
        if name not in handlers:  # another deployment has sent it, where this class is not known
            raise NotFound(f"{self._definition.name} has no {role} {name!r}")
        return handlers[name]

    def _unfinished(self, event: Event) -> str:
        return f"Agent {self._agent_id!r} ended before {event.name!r} was handled"

    def _refuse(self, event: Event, text: str, status: int) -> None:
        if event.reply is not None:
            current_loop().ctx.reject_awakeable(event.reply, text, status)

    def _acknowledge(self) -> None:
        """Tell the mailbox, after every 100 events, what is handled: it forgets that."""
        through = min(self._open) - 1 if self._open else self.taken
        if through - self._acknowledged >= ACK_EVERY:
            self._acknowledged = through
            report = Handled(run_id=self._run_id, through=through)
            HANDLED.send(current_loop().ctx, self._agent_id, report)
