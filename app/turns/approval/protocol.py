"""What is said about tool calls that wait for approval: the shapes of every request and answer.

Shapes only. Names of fields are stored in journals and known to clients: they change only with a migration note.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, StringConstraints, model_validator

from app.turns.protocol import TurnRef
from app.turns.transcript import Resolution
from app.values import Absent, Input, Stored

Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ResolveRequest(Input):
    """What a person says to a call that waits for approval; `get_status` shows both ids.

    `arguments` replace those of the call as a whole, and are checked as those were. `answer` is that to the question of
    a call that asks one, and fits its form.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"call_id": "…", "approval_id": "…", "decision": "approve"}]}
    )

    call_id: Name
    approval_id: Name
    decision: Literal["approve", "reject"]
    reason: Reason = ""
    arguments: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _arguments_are_approved(self) -> Self:
        if self.decision == "reject" and self.arguments is not None:
            raise ValueError("arguments go with the decision 'approve'; a rejected call has none")
        if self.decision == "reject" and self.answer is not None:
            raise ValueError("an answer goes with the decision 'approve'; who rejects a question gives none")
        return self


class ResolveAnswer(Stored):
    """`applied`; `already_resolved` if the call waits no more, whatever ended that; `unknown` if no such call waited.

    `resolution` is how it was resolved.
    """

    result: Literal["applied", "already_resolved", "unknown"]
    resolution: Resolution | None = Absent


class ApprovalRef(TurnRef):
    """Names what a run asks about: has it been approved by now?"""

    approval_id: str
