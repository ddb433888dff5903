"""How a run ends, in the words of AG-UI: an error, a success, cancelled, or an interrupt that a person must answer.

Pure: no I/O. Outcomes are for clients that declare 1.0: others refuse `cancelled`, and one that has got an interrupt
sends nothing more before that is answered.
"""

from collections.abc import Sequence

from ag_ui.core import (
    BaseEvent,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunFinishedSuccessOutcome,
)

from app.turns.transcript import Approval, TurnStatus
from app.web.agui.goal import End
from app.web.agui.interrupts.asked import WAITING, interrupts_of
from app.web.agui.request import Client
from app.web.agui.tokens import tokens_of

FAILED = (TurnStatus.FAILED, TurnStatus.LIMIT_REACHED)

Outcome = RunFinishedSuccessOutcome | RunFinishedCancelledOutcome | RunFinishedInterruptOutcome


def last_event(client: Client, end: End, asks: Sequence[tuple[Approval, str]]) -> BaseEvent:
    """Return the terminal event of a run. `asks` are the calls that wait for a person, each with our id of it."""
    tokens = tokens_of(end.usage) if client.speaks_1_0 else None
    if end.status in FAILED:
        return RunErrorEvent(message=end.error or f"The turn {end.status}.", code=str(end.status), usage=tokens)
    status = WAITING if asks else str(end.status)
    return RunFinishedEvent(
        thread_id=client.thread_id,
        run_id=client.run_id,
        result=None if end.status is None else {"turn_id": end.turn_id, "status": status},
        outcome=_outcome(end, asks) if client.speaks_1_0 else None,
        usage=tokens,
    )


def _outcome(end: End, asks: Sequence[tuple[Approval, str]]) -> Outcome:
    if asks:
        return RunFinishedInterruptOutcome(interrupts=interrupts_of(asks))
    completed = end.status in (None, TurnStatus.COMPLETED)
    return RunFinishedSuccessOutcome() if completed else RunFinishedCancelledOutcome()
