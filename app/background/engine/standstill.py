"""Why a run stands still, in words, from what Restate says of an invocation that does not go on.

Pure: it does not ask Restate.
"""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.text import clean, shorten

MAX_WHY = 1000  # characters

CHANGED_CLASS = "was begun by another version of class"
WAYS_OUT_OF_CHANGE = (
    "Deploy the old code again so that it can end or continue as new, or terminate_agent and schedule it again."
)

_JOURNAL_MISMATCH = "RT0016"
_FROM_ENGINE = re.compile(r"^\[\d+[^\]]*\]\s*")  # "[500 Internal] " before what we said


class Standstill(BaseModel):
    """Why a run stands still, and what can be done. `for_good` says that time alone does not heal it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    why: str
    ways_out: str
    for_good: bool


def explain(row: dict[str, Any]) -> Standstill | None:
    """Return why a run stands still by its row of `sys_invocation`, None if it does not."""
    status, failure = row.get("status"), _FROM_ENGINE.sub("", clean(row.get("last_failure") or ""))
    if status not in ("backing-off", "paused"):
        return None
    if CHANGED_CLASS in failure:  # the sentence is ours, and ends with the ways out
        why = failure.partition(WAYS_OUT_OF_CHANGE)[0]
        return Standstill(why=_short(why), ways_out=WAYS_OUT_OF_CHANGE, for_good=True)
    if row.get("last_failure_error_code") == _JOURNAL_MISMATCH:
        why = f"The code that the run uses has changed, and its journal does not fit it any more: {failure}"
        return Standstill(why=_short(why), ways_out=WAYS_OUT_OF_CHANGE, for_good=True)
    if status == "paused":
        ways_out = "Resume the run in Restate's UI once the reason is gone, or terminate_agent and schedule it again."
        return Standstill(why=_short(f"The run was paused: {failure}"), ways_out=ways_out, for_good=True)
    ways_out = "Restate tries again and again: see that the service of this agent runs and can be reached."
    return Standstill(why=_short(failure or "The last attempt failed"), ways_out=ways_out, for_good=False)


def _short(text: str) -> str:
    return shorten(text.strip(), MAX_WHY)
