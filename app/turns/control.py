"""The control data of a chat, and what a change of it wants done: values.

Pure: no I/O, no Restate. What changes them is in `conversation.py`, what carries the effects out in `store.py`.
"""

from dataclasses import dataclass

from app.turns.modes import Mode
from app.turns.transcript import TurnStatus
from app.values import Stored


class OpenTurn(Stored):
    """The control data of a turn that is queued or running.

    `sent` tells whether its run was sent, `stopping` how it will end once its run has stopped, `watched` whether a
    settlement waits behind its run.
    """

    turn_id: int
    invocation_id: str = ""
    sent: bool = False
    running: bool = False
    stopping: TurnStatus | None = None
    watched: bool = False


class Doorbell(Stored):
    """The awakeable that the next message for a turn rings; with `steer_only`, the next STEER message."""

    turn_id: int
    awakeable_id: str
    steer_only: bool = False


class Session(Stored):
    """The control data of a chat. `open` is in the order in which the turns run."""

    last_turn_id: int = 0
    open: tuple[OpenTurn, ...] = ()
    mode: Mode | None = None
    doorbell: Doorbell | None = None


@dataclass(frozen=True)
class Start:
    """Send the run of a turn; `with_context` if no other turn is open, so that its context is known."""

    turn_id: int
    with_context: bool


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


Effect = Start | Cancel | Settle | Probe | RingDoorbell
