"""The shapes of Chat Completions: chunks, whole answers, errors.

Pure: no I/O.
"""

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from app.turns.transcript import TurnStatus, Usage

MODEL = "interruptible-agent"
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True)
class Frame:
    """What all parts of one answer share."""

    model: str
    completion_id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        """Return one chunk of a streamed answer."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """Return the chunk with the tokens."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": tokens(usage)}

    def whole(self, content: str, finish_reason: str, usage: Usage, reasoning: str = "") -> dict[str, Any]:
        """Return an answer that is not streamed."""
        message = {"role": "assistant", "content": content, "refusal": None}
        if reasoning:
            message["reasoning_content"] = reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": tokens(usage)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.completion_id, "object": kind, "created": self.created, "model": self.model}


def tokens(usage: Usage) -> dict[str, Any] | None:
    """Return the tokens of a turn, None if nobody has counted them: unknown is not 0."""
    if usage.calls <= usage.unmetered_calls:
        return None
    total = usage.prompt_tokens + usage.completion_tokens
    counted: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": total,
    }
    if usage.cached_tokens is not None:
        counted["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        counted["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counted


def finish_reason(status: TurnStatus | None) -> str:
    """Return why the answer ends where it does."""
    return "length" if status is TurnStatus.LIMIT_REACHED else "stop"


def error(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models() -> dict[str, Any]:
    """Return the list of models: the agent."""
    return {
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "interruptible-agents"}],
    }
