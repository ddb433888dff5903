"""The reply of the LLM, as it is journaled.

Values only. It is assembled from the events of a stream in `draft.py` and the two dialects beside it.
"""

from typing import Literal

from pydantic import Field

from app.turns.transcript import AssistantItem, Usage
from app.values import Stored

CUT_OFF = "The LLM server ended its answer before it was finished."
EMPTY = "The LLM gave an empty answer, neither text nor tool calls."


class Failure(Stored):
    """Why a reply is not whole: what an LLMError said. `retry_after_s` is the wait that the server asked for.

    `ended_at` is when, in seconds since 1970; journals of earlier versions do not have it.
    """

    message: str
    error_type: str
    retryable: bool
    retry_after_s: float | None = None
    ended_at: float | None = None

    @property
    def advice(self) -> str:
        """What helps when no attempt has: the sentence itself, which the service reads first, names no cure."""
        return " Send the message again." if self.message in (CUT_OFF, EMPTY) else ""


class Reply(Stored):
    """What one LLM call gave. With a `failure` it is what had arrived before. Times are seconds since 1970.

    `ended_by` is what ended the call before the engine had brought the word to. `to_approve` are the places of tool
    calls that a person must approve by a rule, as it stood when the LLM asked for them. `ahead`: the turn went on by
    this answer before it was recorded.
    """

    item: AssistantItem
    usage: Usage
    started_at: float
    ended_at: float
    failure: Failure | None = None
    ended_by: Literal["cancellation", "steering"] | None = None
    to_approve: tuple[int, ...] = Field((), exclude_if=lambda places: not places)
    ahead: bool = Field(False, exclude_if=lambda ahead: not ahead)
