"""What a run answers that resumes another: the decisions of a person, as `resolve_approval` takes them.

Pure: no I/O. A payload that does not fit is refused; an answer that nobody has given approves nothing.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from ag_ui.core import ResumeEntry
from pydantic import TypeAdapter, ValidationError

from app.errors import UsageError
from app.turns.approval.rules import turn_of
from app.turns.transcript import Verdict
from app.values import problems_of, quoted
from app.web.agui.interrupts.asked import ANSWER, APPROVE

_INTERRUPT = re.compile(f"([0-9a-f-]+)([{APPROVE}{ANSWER}])(.+)", re.DOTALL)
_ENTRIES = TypeAdapter(list[ResumeEntry])
_VERDICTS = {"approve": (Verdict.APPROVED,), "reject": (Verdict.REJECTED, Verdict.WITHDRAWN, Verdict.EXPIRED)}


@dataclass(frozen=True)
class Decided:
    """A decision about one call. `given_up`: the person has not answered, which rejects what still waits."""

    approval_id: str
    call_id: str
    decision: str
    given_up: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def turn_id(self) -> int:
        """The turn of the call."""
        return turn_of(self.approval_id)

    def to_body(self) -> dict[str, Any]:
        """Return it as `resolve_approval` takes it."""
        return {"approval_id": self.approval_id, "call_id": self.call_id, "decision": self.decision, **self.more}

    def is_met_by(self, answer: dict[str, Any]) -> bool:
        """Return whether what the chat answers is what was decided, now or when it was sent before."""
        verdict = (answer.get("resolution") or {}).get("verdict")
        return answer["result"] == "applied" or verdict in _VERDICTS[self.decision]


def decisions_of(resume: Any) -> list[Decided]:
    """Return what a run has decided. Errors: UsageError with what is wrong and what to do."""
    try:
        entries = _ENTRIES.validate_python(resume)
    except ValidationError as exc:
        raise UsageError(f"`resume` is no list of answers to interrupts. {problems_of(exc)}.") from exc
    return [_decided(entry) for entry in entries]


def _decided(entry: ResumeEntry) -> Decided:
    found = _INTERRUPT.fullmatch(entry.interrupt_id)
    if found is None:
        raise UsageError(f"No run has asked for {quoted(entry.interrupt_id)}: send the `id` of an interrupt as it came")
    approval_id, between, call_id = found.groups()
    if entry.status == "cancelled":
        return Decided(approval_id, call_id, "reject", given_up=True)
    payload = entry.payload
    if not isinstance(payload, dict):
        raise UsageError(f"The payload of an answer is {quoted(payload)}: it must be an object, see `responseSchema`")
    decision, more = ("approve", {"answer": payload}) if between == ANSWER else _said(payload)
    return Decided(approval_id, call_id, decision, more=more)


def _said(payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the decision about a call in a payload, and what goes with it."""
    approved = payload.get("approved")
    if not isinstance(approved, bool):
        raise UsageError(f"`approved` is {quoted(approved)}: it must be true or false")
    if not approved:
        reason = payload.get("reason")
        return "reject", {"reason": reason} if isinstance(reason, str) else {}
    edited = payload.get("editedArgs")
    return "approve", {} if edited is None else {"arguments": edited}
