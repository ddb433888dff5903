"""What a client of Chat Completions reads when the agent waits for a person: what is asked, and where to answer.

Pure: no I/O. That protocol knows no questions: the answer ends with these words, and the turn goes on elsewhere.
"""

import json
from collections.abc import Sequence

from app.turns.transcript import Approval
from app.web.openai.answer import BETWEEN

MAX_SHOWN_CHARS = 2000  # of the arguments of a call


def asked_text(asks: Sequence[Approval], page: str, path: str) -> str:
    """Return what a person is to decide about, and how. `page` is an address, `path` that of `resolve_approval`."""
    asked = BETWEEN.join(_asked(approval) for approval in asks)
    ids = [{"call_id": approval.call_id, "approval_id": approval.approval_id} for approval in asks]
    bodies = "\n".join(json.dumps({**each, "decision": "approve"}) for each in ids)
    return BETWEEN.join(
        (
            "---",
            asked,
            f"Decide on the page at {page} or in the terminal client; or POST to `{path}` (`reject` says no):",
            _block(bodies),
            "Until then the agent waits. What it says then is in the chat; repeat this message to read it here.",
        )
    )


def _asked(approval: Approval) -> str:
    if approval.question is not None:
        return f"The call `{_plain(approval.name)}` asks you:{BETWEEN}{_block(approval.question.message)}"
    return f"The agent waits for your approval of `{_plain(approval.name)}` with{BETWEEN}{_block(approval.arguments)}"


def _plain(name: str) -> str:
    return name.replace("`", "'").replace("\n", " ")


def _block(text: str) -> str:
    """Return a block of code, whatever the text is: no line of it can end the block."""
    shown = text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
    return "\n".join(f"    {line}" for line in shown.splitlines())
