"""One background agent as a value: what clients, runs and relatives do to it.

Pure: no I/O, no Restate. `service.py` loads a Mailbox, calls one method, carries out the effects, stores it.
"""

from collections.abc import Iterable
from typing import Any, Unpack

from app.background.mailbox.control import (
    Answer,
    CancelRun,
    Effect,
    Forget,
    Keep,
    KillRun,
    Record,
    RecordChanges,
    Refuse,
    Signal,
    StartRun,
    StopChild,
    TellParent,
)
from app.background.protocol import (
    Child,
    Close,
    Delivery,
    End,
    Event,
    Handled,
    NextRun,
    Outcome,
    RunStart,
    StartRequest,
    Status,
)
from app.errors import Conflict, NotFound

KILLED = "The run was ended from outside."


class Mailbox:
    """A working copy of one agent. `effects` are in the order in which they must happen.

    `events` are the stored ones, needed only by what ends a run. `children` are needed only by what ends the agent.
    """

    def __init__(
        self, agent_id: str, record: Record | None, events: Iterable[Event] = (), children: Iterable[Child] = ()
    ) -> None:
        self.agent_id = agent_id
        self.record = record
        self.events = list(events)
        self.children = list(children)
        self.children_changed = False
        self.effects: list[Effect] = []

    # What clients and parents do

    def start(self, request: StartRequest) -> bool:
        """Start the agent, and send it the event if there is one. Return False if it runs and only gets the event.

        Errors: Conflict if it runs and there is no event for it, or if it is another agent.
        """
        known = self.record
        if known is not None and known.status is Status.RUNNING:
            if request.event is None or known.agent_name != request.agent_name:
                raise Conflict(
                    f"agent_id {self.agent_id!r} belongs to a {known.agent_name} that is running: choose another id, "
                    "or send it events"
                )
            self._deliver_with_start(request)
            return False
        self.record = Record(
            agent_name=request.agent_name,
            kind=request.kind,
            task_queue=request.task_queue,
            parent_id=request.parent_id,
            parent_run_id=request.parent_run_id,
            chat_key=request.chat_key,
            waiters=(request.waiter,) if request.waiter else (),
        )
        self._set_children([])
        self._start_run(self.record.run_number, request.input)
        if request.parent_id is not None:
            self.effects.append(TellParent(request.parent_id, request.parent_close_policy))
        self._deliver_with_start(request)
        return True

    def deliver(self, delivery: Delivery) -> int:
        """Number an event, store it and send it to the run. Return its number.

        Errors: NotFound, Conflict.
        """
        record = self.open(delivery.run_id)
        event = Event(seq=record.last_seq + 1, **delivery.model_dump(exclude={"run_id"}))
        self._set(last_seq=event.seq, queries=record.queries + (event.role == "state"))
        self.effects += [Keep(event), Signal(event)]
        return event.seq

    def open(self, run_id: str | None = None) -> Record:
        """Return the record of an agent that takes events and queries. Errors: NotFound, Conflict."""
        record = self._running(run_id)
        if record.closing:
            raise Conflict(f"Agent {self.agent_id!r} is ending and takes no more events: schedule it again afterwards")
        return record

    def cancel(self, *, run_id: str | None = None) -> None:
        """Ask the agent to end. Errors: NotFound, Conflict."""
        self._running(run_id)
        self._set(cancelling=True)
        self.effects.append(CancelRun())

    def terminate(self, *, run_id: str | None = None) -> None:
        """End the agent at once. Errors: NotFound, Conflict."""
        record = self._running(run_id)
        self.effects.append(KillRun(record.run_id))
        self._end(Outcome(status=Status.TERMINATED, failure="The agent was terminated."))

    def wait(self, waiter: str, *, run_id: str | None = None) -> None:
        """Resolve `waiter` with the outcome, now or when there is one. Errors: NotFound."""
        record = self.known(run_id)
        if record.outcome is not None:
            self.effects.append(Answer(waiter, record.outcome))
        else:
            self._set(waiters=(*record.waiters, waiter))

    def require_ended(self) -> None:
        """Check that the agent has ended. Errors: NotFound; Conflict while it runs."""
        if self.known().status is Status.RUNNING:
            raise Conflict(f"Agent {self.agent_id!r} is running: cancel or terminate it, then purge it")

    def known(self, run_id: str | None = None) -> Record:
        """Return the record. Errors: NotFound."""
        if self.record is None:
            raise NotFound(f"There is no agent with agent_id {self.agent_id!r}: schedule it first")
        if run_id not in (None, self.record.run_id, self.record.first_run_id):
            raise NotFound(f"Run {run_id!r} is not the current run of agent {self.agent_id!r}: leave run_id out")
        return self.record

    # What runs report

    def handled(self, report: Handled) -> None:
        """Forget events that the run has handled."""
        record = self._fenced(report.run_id)
        if record is not None and report.through > record.handled:
            self.effects.append(Forget(record.handled + 1, report.through))
            self._set(handled=report.through)

    def next_run(self, request: NextRun) -> None:
        """Continue as new: start the next run and send it, in order, all events that this one has not taken."""
        record = self._fenced(request.run_id)
        if record is None:
            return
        self._forget_through(request.taken)
        self._start_run(record.run_number + 1, request.input, after_seq=request.taken)
        self.effects += [Signal(event) for event in self.events if event.seq > request.taken]
        if record.cancelling:
            self.effects.append(CancelRun())

    def close(self, request: Close) -> None:
        """Close the agent, unless events have come that the run must handle first. From then on it takes no more."""
        record = self._fenced(request.run_id)
        if record is None:
            return
        pending = record.last_seq > request.taken
        self.effects.append(Answer(request.reply, record.last_seq if pending else None))
        if pending:
            self._set(closing=True)
        else:
            self._end(request.outcome)

    def end(self, request: End) -> None:
        """Close the agent after its last events."""
        if self._fenced(request.run_id) is not None:
            self._end(request.outcome)

    def run_died(self, run_id: str) -> None:
        """Close the agent of a run that did not live to do it."""
        if self._fenced(run_id) is not None:
            self._end(Outcome(status=Status.TERMINATED, failure=KILLED))

    # What children report

    def adopt(self, child: Child) -> None:
        """Note a child. If the agent has ended, the child gets what its policy says."""
        if self.record is None or self.record.status is not Status.RUNNING:
            self.effects.append(StopChild(child))
        else:
            self._set_children([*(c for c in self.children if c.agent_id != child.agent_id), child])

    def disown(self, child_id: str) -> None:
        """Forget a child that has ended."""
        self._set_children([child for child in self.children if child.agent_id != child_id])

    # What store.py reports back

    def started(self, run_id: str) -> None:
        """Note the invocation of the run that was sent."""
        self._set(run_id=run_id, first_run_id=self.known().first_run_id or run_id)

    # The moves

    def _start_run(self, run_number: int, run_input: Any, after_seq: int = 0) -> None:
        record = self.known()
        self._set(run_number=run_number)
        self.effects.append(
            StartRun(
                RunStart(
                    agent_id=self.agent_id,
                    agent_name=record.agent_name,
                    kind=record.kind,
                    run_number=run_number,
                    task_queue=record.task_queue,
                    input=run_input,
                    after_seq=after_seq,
                    parent_id=record.parent_id,
                    limits_handlers=True,
                    parent_run_id=record.parent_run_id,
                    first_run_id=record.first_run_id or None,
                    continued_run_id=record.run_id or None,
                    chat_key=record.chat_key,
                )
            )
        )

    def _deliver_with_start(self, request: StartRequest) -> None:
        if request.event is not None:
            self.deliver(Delivery(role="event", name=request.event.name, input=request.event.input))

    def _end(self, outcome: Outcome) -> None:
        """Close the agent: tell who waits and who is related, and drop what is stored for the run."""
        record = self.known()
        text = outcome.failure or f"Agent {self.agent_id!r} ended before it had handled this."
        self.effects += [Refuse(event.reply, text, 409) for event in self.events if event.reply is not None]
        self.effects += [Answer(waiter, outcome) for waiter in record.waiters]
        self.effects += [StopChild(child) for child in self.children]
        if record.parent_id is not None:
            self.effects.append(TellParent(record.parent_id, None))
        self._forget_through(record.last_seq)
        self._set_children([])
        self._set(status=outcome.status, outcome=outcome, waiters=(), closing=False, cancelling=False)

    def _forget_through(self, seq: int) -> None:
        record = self.known()
        if seq > record.handled:
            self.effects.append(Forget(record.handled + 1, seq))
            self._set(handled=seq)

    def _running(self, run_id: str | None) -> Record:
        record = self.known(run_id)
        if record.status is not Status.RUNNING:
            raise Conflict(f"Agent {self.agent_id!r} has ended ({record.status}): schedule it again")
        return record

    def _fenced(self, run_id: str) -> Record | None:
        """Return the record if `run_id` is its running run, None for a late or foreign one."""
        record = self.record
        is_current = record is not None and record.status is Status.RUNNING and record.run_id == run_id
        return record if is_current else None

    def _set_children(self, children: list[Child]) -> None:
        self.children = children
        self.children_changed = True

    def _set(self, **fields: Unpack[RecordChanges]) -> None:
        self.record = self.known().changed(**fields)
