"""What a run that waits for a person asks: approvals as interrupts, whose ids name the very call.

Pure: no I/O.
"""

from collections.abc import Sequence
from typing import Any

from ag_ui.core import Interrupt

from app.turns.transcript import Approval

APPROVE, ANSWER = ".", "?"  # in no id of an approval: what comes behind it in that of an interrupt
WAITING = "waiting_for_approval"  # the status of a run, for clients that know no interrupts
DECISION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "reason": {"type": "string", "description": "Why it is rejected; the agent is told."},
        "editedArgs": {"type": "object", "description": "Full replacement of the arguments. Not merged."},
    },
    "required": ["approved"],
}


def interrupt_id(approval: Approval) -> str:
    """Return the id of an interrupt: both ids that `resolve_approval` wants, and whether it is a question."""
    between = APPROVE if approval.question is None else ANSWER
    return f"{approval.approval_id}{between}{approval.call_id}"


def interrupts_of(asks: Sequence[tuple[Approval, str]]) -> list[Interrupt]:
    """Return what a run asks, each with our id of its call."""
    return [_interrupt(approval, line_call_id) for approval, line_call_id in asks]


def _interrupt(approval: Approval, line_call_id: str) -> Interrupt:
    question = approval.question
    asked = f"May {approval.name} be called with {approval.arguments}?" if question is None else question.message
    return Interrupt(
        id=interrupt_id(approval),
        reason="tool_call" if question is None else "input_required",
        message=asked,
        tool_call_id=line_call_id,
        response_schema=DECISION_SCHEMA if question is None else question.answer_schema,
        expires_at=None if approval.expires_at is None else approval.expires_at.isoformat(),
        metadata={"name": approval.name, "arguments": approval.arguments},
    )
