"""A mailbox in memory, with its runs: does with a Mailbox what `store.py` does, without engine and storage."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from app.background.mailbox.control import (
    Answer,
    CancelRun,
    Effect,
    Forget,
    Keep,
    KillRun,
    Record,
    Refuse,
    Signal,
    StartRun,
    StopChild,
)
from app.background.mailbox.rules import Mailbox
from app.background.protocol import Child, Event, Outcome

T = TypeVar("T")


@dataclass
class FakeRun:
    """A run as the engine and its code know it. `signals` have arrived, `taken` is the last that was started."""

    run_id: str
    after_seq: int
    taken: int
    signals: dict[int, Event] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)
    cancelled: bool = False
    doomed: bool = False  # somebody has asked that it be killed
    dead: bool = False
    leaving: bool = False  # takes no more events
    outcome: Outcome | None = None  # it has asked to close
    last: int | None = None  # the last event before its end, if there is one


class FakeMailbox:
    """Each change works on a fresh Mailbox. `answered` are awakeables with what they got, first come first served."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self.events: dict[int, Event] = {}
        self.children: tuple[Child, ...] = ()
        self.runs: list[FakeRun] = []
        self.mail: deque[Callable[[Mailbox], object]] = deque()  # what runs and their watchers have sent one-way
        self.answered: dict[str, object] = {}
        self.stopped: list[str] = []

    @property
    def run(self) -> FakeRun | None:
        """The current run, if it lives."""
        live = [run for run in self.runs if self.record and run.run_id == self.record.run_id and not run.dead]
        return live[0] if live else None

    def change(self, act: Callable[[Mailbox], T]) -> T:
        """Load, act, carry out the effects, store; an error changes nothing."""
        mailbox = Mailbox("a", self.record, [self.events[seq] for seq in sorted(self.events)], self.children)
        result = act(mailbox)
        for effect in mailbox.effects:
            self._carry_out(mailbox, effect)
        self.record = mailbox.record
        if mailbox.children_changed:
            self.children = tuple(mailbox.children)
        return result

    def purge(self) -> None:
        self.change(lambda mailbox: mailbox.require_ended())
        self.record, self.events, self.children = None, {}, ()

    def post(self, act: Callable[[Mailbox], object]) -> None:
        """Send something one-way to the mailbox."""
        self.mail.append(act)

    def kill(self, run: FakeRun) -> None:
        """End a run at once; its watcher tells the mailbox."""
        run.dead = True
        self.post(lambda mailbox: mailbox.run_died(run.run_id))

    def _carry_out(self, mailbox: Mailbox, effect: Effect) -> None:
        match effect:
            case StartRun(start):
                run = FakeRun(f"run-{len(self.runs) + 1}", start.after_seq, start.after_seq)
                self.runs.append(run)
                mailbox.started(run.run_id)
            case Signal(event):
                self._of(mailbox.known().run_id).signals[event.seq] = event
            case Keep(event):
                self.events[event.seq] = event
            case Forget(first, last):
                for seq in range(first, last + 1):
                    self.events.pop(seq, None)
            case Answer(awakeable_id, value):
                self.answered.setdefault(awakeable_id, value)
                for run in self.runs:
                    if awakeable_id == f"close {run.run_id}":
                        run.last = value
                        run.dead = run.dead or value is None
            case Refuse(awakeable_id, text, _):
                self.answered.setdefault(awakeable_id, text)
            case CancelRun():
                self._of(mailbox.known().run_id).cancelled = True
            case KillRun(run_id):
                self._of(run_id).doomed = True
            case StopChild(child):
                self.stopped.append(child.agent_id)

    def _of(self, run_id: str) -> FakeRun:
        (run,) = [run for run in self.runs if run.run_id == run_id]
        return run
