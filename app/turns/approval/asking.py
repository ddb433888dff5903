"""What makes an approval that of one call alone, and what a person has decided about it.

Pure: no I/O, no Restate.
"""

import hashlib
import json
from typing import Any

from app.errors import TooLarge
from app.tools import Tool
from app.turns.approval.protocol import ResolveRequest
from app.turns.transcript import Approval, Resolution, ToolCall, Verdict

MAX_ARGUMENTS_CHARS = 200_000  # as JSON, of arguments that a person has changed


def approval_of(call: ToolCall, turn_id: int, invocation_id: str, index: int, position: int) -> Approval:
    """Return what a person is asked about a call: number `position` of the reply that stands at `index` of its turn.

    The id is that of nothing else: another run, another place, another argument is another approval.
    """
    named = [invocation_id, index, position, call.call_id, call.name, call.arguments]
    digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]
    return Approval(approval_id=f"{turn_id}-{digest}", call_id=call.call_id, name=call.name, arguments=call.arguments)


def resolution_of(request: ResolveRequest, tool: Tool | None) -> Resolution:
    """Return what a person has decided. Changed arguments must fit the `tool`; one that is gone takes any.

    Errors: TooLarge; UsageError as for arguments of the LLM.
    """
    verdict = Verdict.APPROVED if request.decision == "approve" else Verdict.REJECTED
    arguments = None if request.arguments is None else _checked(request.arguments, tool)
    return Resolution(verdict=verdict, reason=request.reason, arguments=arguments)


def _checked(arguments: dict[str, Any], tool: Tool | None) -> str:
    written = json.dumps(arguments, ensure_ascii=False)
    if len(written) > MAX_ARGUMENTS_CHARS:
        raise TooLarge(f"The arguments have {len(written)} characters, the limit is {MAX_ARGUMENTS_CHARS}: send less")
    if tool is not None:
        tool.parse(written)
    return written
