"""What makes an approval that of one call alone, and what a person has decided about it.

Pure: no I/O, no Restate.
"""

import hashlib
import json
from typing import Any

from app.errors import TooLarge, UsageError
from app.tools import Tool
from app.tools.asking import check_answer
from app.turns.approval.protocol import ResolveRequest
from app.turns.transcript import Approval, Question, Resolution, ToolCall, Verdict

MAX_ARGUMENTS_CHARS = 200_000  # as JSON, of arguments that a person has changed


def approval_of(
    call: ToolCall,
    turn_id: int,
    invocation_id: str,
    index: int,
    position: int,
    question: Question | None = None,
) -> Approval:
    """Return what a person is asked about a call: number `position` of the reply that stands at `index` of its turn.

    The id is that of nothing else: another run, another place, another argument, another question is another approval.
    """
    named = [invocation_id, index, position, call.call_id, call.name, call.arguments]
    if question is not None:
        named.append(question.model_dump())
    digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]
    return Approval(
        approval_id=f"{turn_id}-{digest}",
        call_id=call.call_id,
        name=call.name,
        arguments=call.arguments,
        question=question,
    )


def resolution_of(request: ResolveRequest, tool: Tool | None, question: Question | None = None) -> Resolution:
    """Return what a person has decided. Changed arguments must fit the `tool`; one that is gone takes any.

    An answer must fit the `question` of the call.
    Errors: TooLarge; UsageError as for arguments of the LLM, and for an answer that does not fit.
    """
    if question is not None:
        return _answered(request, question)
    if request.answer is not None:
        raise UsageError("This call asks nothing: leave `answer` out, or change its `arguments`.")
    verdict = Verdict.APPROVED if request.decision == "approve" else Verdict.REJECTED
    arguments = None if request.arguments is None else _checked(request.arguments, tool)
    return Resolution(verdict=verdict, reason=request.reason, arguments=arguments)


def _answered(request: ResolveRequest, question: Question) -> Resolution:
    if request.arguments is not None:
        raise UsageError("This call has begun, and asks something: send an `answer` in place of `arguments`.")
    if request.decision == "reject":
        return Resolution(verdict=Verdict.REJECTED, reason=request.reason)
    answer = request.answer or {}
    check_answer(question.answer_schema, answer)
    return Resolution(verdict=Verdict.APPROVED, reason=request.reason, answer=_written(answer))


def _checked(arguments: dict[str, Any], tool: Tool | None) -> str:
    written = _written(arguments)
    if tool is not None:
        tool.parse(written)
    return written


def _written(data: dict[str, Any]) -> str:
    written = json.dumps(data, ensure_ascii=False)
    if len(written) > MAX_ARGUMENTS_CHARS:
        raise TooLarge(f"The object has {len(written)} characters, the limit is {MAX_ARGUMENTS_CHARS}: send less")
    return written
