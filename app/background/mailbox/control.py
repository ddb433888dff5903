"""The record of one agent as it is stored, and what a change of it wants done.

Values only. `rules.py` makes them, `effects.py` carries them out.
"""

from dataclasses import dataclass
from typing import Any, TypedDict

from app.background.protocol import (
    Absent,
    AgentDescription,
    Child,
    Event,
    Kind,
    Outcome,
    ParentClosePolicy,
    RunStart,
    Status,
)
from app.values import Stored

RECORD_KEY = "agent"  # stored under it


class Record(Stored):
    """The control data of an agent. The events up to number `handled` are no longer stored.

    `queries` counts the numbers that went to queries through the journal, and not to events.
    """

    agent_name: str
    kind: Kind
    task_queue: str
    status: Status = Status.RUNNING
    run_number: int = 1
    run_id: str = ""
    first_run_id: str = ""
    last_seq: int = 0
    queries: int = 0
    handled: int = 0
    closing: bool = False
    cancelling: bool = False
    parent_id: str | None = None
    parent_run_id: str | None = None
    chat_key: str | None = Absent
    waiters: tuple[str, ...] = ()
    outcome: Outcome | None = None


class RecordChanges(TypedDict, total=False):
    """The fields of a Record that change. Written down again so that mypy sees a misspelt one."""

    status: Status
    run_number: int
    run_id: str
    first_run_id: str
    last_seq: int
    queries: int
    handled: int
    closing: bool
    cancelling: bool
    waiters: tuple[str, ...]
    outcome: Outcome | None


def description_of(agent_id: str, record: Record, children: tuple[str, ...] = ()) -> AgentDescription:
    """Return a record as clients see it."""
    return AgentDescription(
        agent_id=agent_id,
        children=children,
        events=record.last_seq - record.queries,
        failure=record.outcome.failure if record.outcome else None,
        **record.model_dump(
            include={"agent_name", "kind", "status", "run_id", "run_number", "task_queue", "parent_id"}
        ),
    )


@dataclass(frozen=True)
class StartRun:
    """Send the run. `Mailbox.started` is told its id."""

    start: RunStart


@dataclass(frozen=True)
class Signal:
    """Send an event to the current run."""

    event: Event


@dataclass(frozen=True)
class Keep:
    """Store an event until it is handled."""

    event: Event


@dataclass(frozen=True)
class Forget:
    """Drop the stored events `first` to `last`."""

    first: int
    last: int


@dataclass(frozen=True)
class Answer:
    """Resolve an awakeable."""

    awakeable_id: str
    value: Any


@dataclass(frozen=True)
class Refuse:
    """Reject an awakeable."""

    awakeable_id: str
    text: str
    status: int


@dataclass(frozen=True)
class CancelRun:
    """Ask the current run to end. Its `finally` blocks run."""


@dataclass(frozen=True)
class KillRun:
    """End the current run at once."""

    run_id: str


@dataclass(frozen=True)
class StopChild:
    """Do to a child what its policy says."""

    child: Child


@dataclass(frozen=True)
class TellParent:
    """Tell the parent that this agent has started as its child, or has ended."""

    parent_id: str
    policy: ParentClosePolicy | None  # None: it has ended


Effect = StartRun | Signal | Keep | Forget | Answer | Refuse | CancelRun | KillRun | StopChild | TellParent
