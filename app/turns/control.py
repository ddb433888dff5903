"""The control data of a chat, and what a change of it wants done: values.

Pure: no I/O, no Restate. What changes them is in `conversation.py`, what carries the effects out in `effects.py`.
"""

from dataclasses import dataclass

from pydantic import Field

from app.turns.modes import Mode
from app.turns.protocol import MemoryRef
from app.turns.transcript import ChatAgent, Message, Resolution, Turn, TurnStatus, Usage
from app.values import Stored


class OpenTurn(Stored):
    """The control data of a turn that is queued or running.

    `sent` tells whether its run was sent, `stopping` how it will end once its run has stopped, `watched` whether a
    settlement waits behind its run, `rings` how often its run was rung. `early`: its run was sent with its messages
    while the turn before it was stopping, and begins when that one has ended.
    """

    turn_id: int
    invocation_id: str = ""
    sent: bool = False
    running: bool = False
    stopping: TurnStatus | None = None
    watched: bool = False
    rings: int = 0
    early: bool = False


class Doorbell(Stored):
    """The awakeable of a run of the version before; the next message rings it, with `steer_only` the next STEER one."""

    turn_id: int
    awakeable_id: str
    steer_only: bool = False


class HeldMessages(Stored):
    """What is held, once more: for the return from a version that does not know `Session.held` and drops it."""

    messages: tuple[Message, ...] = ()


class AgentMessages(Stored):
    """How many messages the background agents of a chat have sent into it on a day, counted from 1970."""

    day: int
    count: int


class Day(Stored):
    """A day, counted from 1970, and how many tokens the chat had used before its first message."""

    day: int
    tokens_before: int


class SummaryAsked(Stored):
    """A summary that is being made, of the turns up to `up_to`. `asked_at` is in seconds since 1970."""

    up_to: int
    asked_at: float
    invocation_id: str = ""


class SummaryState(Stored):
    """What became of the summary of a chat. It is of the turns up to `covers` (0: none), and stands under its own key.

    After `failures` in a row it is asked for again when turn `not_before` has ended; `problem` is the last one.
    """

    covers: int = 0
    asked: SummaryAsked | None = None
    failures: int = 0
    not_before: int = 0
    problem: str | None = None


class Session(Stored):
    """What is open in a chat. `open` is in the order in which the turns run, `turns` holds what they are.

    `memory` is what AgentSession has in memory when no turn is open, None if that is not known. `received` counts the
    messages, `held` are those that wait for `resume`, in order. `agents` are those that the chat has started. `summary`
    is there once one was asked for. `usage` is that of all turns, also of closed ones, `today` the day of the last
    message where tokens a day are limited.
    """

    last_turn_id: int = 0
    open: tuple[OpenTurn, ...] = ()
    mode: Mode | None = None
    doorbell: Doorbell | None = None
    turns: tuple[Turn, ...] | None = None  # None: of the version before, which kept each under a key of its own
    memory: MemoryRef | None = None
    received: int = 0
    held: tuple[Message, ...] | None = None  # None: of a version that holds nothing; HeldMessages says what is held
    agents: tuple[ChatAgent, ...] = Field((), exclude_if=lambda agents: not agents)
    agent_messages: AgentMessages | None = Field(None, exclude_if=lambda messages: messages is None)
    summary: SummaryState | None = Field(None, exclude_if=lambda summary: summary is None)
    usage: Usage = Field(Usage(), exclude_if=lambda usage: not usage.calls)
    today: Day | None = Field(None, exclude_if=lambda day: day is None)

    @property
    def covered(self) -> int:
        """The turn up to which the summary stands for the turns, 0 without one."""
        return 0 if self.summary is None else self.summary.covers

    @property
    def expected(self) -> MemoryRef | None:
        """What AgentSession must have in memory to be believed; it begins with the summary."""
        return None if self.memory is None else self.memory.changed(summary=self.covered)


@dataclass(frozen=True)
class Start:
    """Send the run of a turn: with `messages` it begins with them at once, without it asks what to begin with.

    `memory` is what it must have in memory to begin at once; None makes it ask for that.
    """

    turn_id: int
    messages: tuple[Message, ...] = ()
    memory: MemoryRef | None = None


@dataclass(frozen=True)
class Cancel:
    """Cancel the run of a turn."""

    invocation_id: str


@dataclass(frozen=True)
class Settle:
    """Once the run of a turn is over, close the turn if the run did not live to do it."""

    turn_id: int


@dataclass(frozen=True)
class Probe:
    """Look whether the runs of these turns are over, and close each turn whose run is."""

    turn_ids: tuple[int, ...]


@dataclass(frozen=True)
class RingDoorbell:
    """Resolve an awakeable."""

    awakeable_id: str
    steer: bool
    content: str


@dataclass(frozen=True)
class RingRun:
    """Signal a run that a message waits for it; rings are numbered from 1."""

    invocation_id: str
    number: int
    steer: bool
    content: str


@dataclass(frozen=True)
class Decide:
    """Tell a run how an approval that it waits for was resolved; each one once."""

    invocation_id: str
    approval_id: str
    resolution: Resolution


@dataclass(frozen=True)
class SumUp:
    """Have earlier turns summed up; what is to be done is asked for when it begins."""


Effect = Start | Cancel | Settle | Probe | RingDoorbell | RingRun | Decide | SumUp
