"""What the parts of a background agent say to each other, and tell clients of it.

Shapes and names only. Both are stored in journals and known to clients: they change only with a migration note.
"""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from app.background.engine.standstill import Standstill
from app.background.event import AgentEvent
from app.values import Stored

MAILBOX = "BackgroundAgent"
FRONT_DOOR = "BackgroundAgents"
RUNS = "BackgroundRuns"
SCHEDULES = "BackgroundSchedule"
RESERVED = frozenset({MAILBOX, FRONT_DOOR, RUNS, SCHEDULES})
RUN = "run"  # the handler of the service of each agent class
CALL = "call"  # the handler of the functions of a task queue
DEFAULT_QUEUE = "restack"

# In the metadata of the service of each agent class.
KIND_KEY = "kind"
FINGERPRINT_KEY = "fingerprint"

Kind = Literal["agent", "workflow"]


# A field that came later. Without a value it is not written: the message stays the same byte for byte, and a run that
# sent it before the field was there can be replayed.
Absent: Any = Field(None, exclude_if=lambda value: value is None)


class Status(StrEnum):
    """The status of an agent."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"


class ParentClosePolicy(StrEnum):
    """What becomes of a child when its parent ends. Without a policy it is terminated."""

    TERMINATE = "terminate"
    UNSPECIFIED = "terminate"
    ABANDON = "abandon"
    REQUEST_CANCEL = "request_cancel"


# To clients


class Started(Stored):
    """An agent that was started, or was running and got the event."""

    agent_id: str
    run_id: str
    started: bool = True


class Delivered(Stored):
    """An event that was accepted. Events are handled in the order of `seq`."""

    agent_id: str
    run_id: str
    seq: int


class AgentDescription(Stored):
    """One agent. `events` is how many were accepted so far. `blocked` says why its run stands still, if it does."""

    agent_id: str
    agent_name: str
    kind: Kind
    status: Status
    run_id: str
    run_number: int
    task_queue: str
    parent_id: str | None
    children: tuple[str, ...] = ()
    events: int
    failure: str | None
    blocked: Standstill | None = None


# Between mailboxes and runs


class RunStart(Stored):
    """The input of a run. `after_seq` is the last event that an earlier run took."""

    agent_id: str
    agent_name: str
    kind: Kind
    run_number: int
    task_queue: str
    input: Any = None
    after_seq: int = 0
    parent_id: str | None = None
    limits_handlers: bool = False  # a run of an earlier version waits for its handlers without a limit
    parent_run_id: str | None = Absent
    first_run_id: str | None = Absent
    continued_run_id: str | None = Absent
    chat_key: str | None = Absent


class Event(Stored):
    """What a mailbox sends to a run. `reply` is the awakeable of a caller who waits."""

    seq: int
    role: Literal["event", "state"]
    name: str
    input: Any = None
    reply: str | None = None


class Outcome(Stored):
    """How an agent ended."""

    status: Status
    result: Any = None
    failure: str | None = None


class RunRequest(Stored):
    """What a run says. It is fenced by `run_id`: what another run says changes nothing."""

    run_id: str


class Handled(RunRequest):
    """All events up to `through` have been handled."""

    through: int


class NextRun(RunRequest):
    """Start the next run. This one has taken the events up to `taken` and handled them."""

    taken: int
    input: Any


class Close(RunRequest):
    """`run` has ended. The answer is the last event that must still be handled, None if the agent is closed."""

    taken: int
    outcome: Outcome
    reply: str


class End(RunRequest):
    """The last event is handled."""

    outcome: Outcome


class Delivery(Stored):
    """An event on its way into a mailbox."""

    role: Literal["event", "state"]
    name: str
    input: Any = None
    reply: str | None = None
    run_id: str | None = None


class StartRequest(Stored):
    """Start an agent. `waiter` is an awakeable for its outcome, `reply` one for the answer to the start itself.

    `chat_key` is that of the chat that starts it, if one does; the agent is told.
    """

    agent_name: str
    kind: Kind = "agent"
    input: Any = None
    task_queue: str = DEFAULT_QUEUE
    event: AgentEvent | None = None
    parent_id: str | None = None
    parent_close_policy: ParentClosePolicy = ParentClosePolicy.TERMINATE
    reply: str | None = None
    waiter: str | None = None
    parent_run_id: str | None = Absent
    chat_key: str | None = Absent


class StopRequest(Stored):
    """Cancel or terminate an agent. With `parent_id`, only if it is a child of that agent."""

    parent_id: str | None = None
    run_id: str | None = None


class WaitRequest(Stored):
    """Register an awakeable for the outcome of an agent."""

    waiter: str
    run_id: str | None = None


class Child(Stored):
    """A child of an agent, in the parent's mailbox."""

    agent_id: str
    policy: ParentClosePolicy = ParentClosePolicy.TERMINATE


class RunOfAgent(Stored):
    """Names one run of one agent."""

    agent_id: str
    run_id: str


class ScheduleEnd(Stored):
    """Tell a schedule when the agent that it started last has ended."""

    schedule_id: str
    agent_id: str
    tick: dict[str, str]


class FunctionCall(Stored):
    """What a step asks of a function. Units: seconds, None waits for ever."""

    input: Any = None
    agent_id: str
    started: str | None = None  # awakeable that says that it has begun
    start_to_close_s: float | None = None
    heartbeat_s: float | None = None
    max_attempts: int | None = None
    initial_interval_s: float = 1.0
    backoff_coefficient: float = 2.0
    max_interval_s: float | None = None
    non_retryable_error_types: tuple[str, ...] = ()
    run_id: str | None = Absent
    agent_name: str | None = Absent
    schedule_to_close_s: float | None = Absent
