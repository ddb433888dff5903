"""Passes on what a person has decided, and finds the turn that goes on by it. What was decided is read elsewhere."""

from collections.abc import Iterable, Sequence

from app.errors import Conflict, NotFound
from app.turns.reading.protocol import HistoryEntry
from app.values import quoted
from app.web.agui.goal import MessageAnswered
from app.web.agui.interrupts.answered import Decided
from app.web.ingress import Ingress


async def resolve(ingress: Ingress, key: str, decisions: Iterable[Decided]) -> None:
    """Have calls approved or rejected; one that has been decided in the same way is left at that.

    Errors: NotFound, Conflict; as Ingress.call, for arguments and answers that do not fit.
    """
    for decided in decisions:
        answer = await ingress.call(key, "resolve_approval", decided.to_body())
        if answer["result"] == "unknown":
            raise NotFound(f"No call of this chat waits for {quoted(decided.approval_id)}: it may have been forgotten")
        if not decided.given_up and not decided.is_met_by(answer):
            verdict = (answer.get("resolution") or {}).get("verdict")
            raise Conflict(f"That call does not wait any more: it is {verdict}. Connect to see what became of it")


def answered_in(entries: Sequence[HistoryEntry], turn_id: int) -> MessageAnswered:
    """Return the goal of a run that resumes this turn: its last message is answered. Errors: NotFound."""
    said = [entry.message_id for entry in entries if entry.turn_id == turn_id and entry.role == "user"]
    if not said or said[-1] is None:
        raise NotFound("The turn of that call is not among the last ones of this chat: connect to see it")
    return MessageAnswered(said[-1], turn_id)
