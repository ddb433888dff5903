"""Answers that say no: a status, a sentence, and the same JSON shape for all.

Decides nothing. What is wrong inside is not told.
"""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.errors import AgentError
from app.text import clean

_SENTENCES = {404: "Nothing is here.", 405: "This cannot be done here: another method is needed."}


class Refused(AgentError):
    """The gateway does not carry out the request. `headers` go with the answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def not_allowed() -> Refused:
    """Return the answer to a caller who may not do this. It does not tell what is there."""
    return Refused(403, "This is not allowed.")


def not_signed_in() -> Refused:
    """Return the answer to a caller nobody knows. It does not tell what is wrong with the token."""
    return Refused(401, "Sign in first: a bearer token is needed.", {"www-authenticate": "Bearer"})


def later(status: int, message: str, seconds: float) -> Refused:
    """Return an answer that says when to try again."""
    return Refused(status, message, {"retry-after": str(max(1, round(seconds)))})


def answer_of(refused: Refused) -> Response:
    """Return a refusal as a response."""
    return _answer(refused.status, refused.message, refused.headers)


async def on_agent_error(_request: Request, error: Exception) -> Response:
    """Answer an error of ours with its own status and sentence."""
    assert isinstance(error, AgentError)  # noqa: S101 - registered for these only
    if isinstance(error, Refused):
        return answer_of(error)
    return _answer(error.status, error.message, {"retry-after": "1"} if error.status == 503 else {})


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Answer what Starlette itself refuses."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these only
    return _answer(error.status_code, _SENTENCES.get(error.status_code, error.detail), error.headers or {})


async def on_bug(_request: Request, _error: Exception) -> Response:
    """Answer what nobody expected with no more than that it happened."""
    return _answer(500, "Internal error: the log of the service says more.", {})


def _answer(status: int, message: str, headers: Mapping[str, Any]) -> Response:
    return JSONResponse({"error": {"status": status, "message": clean(message)}}, status, headers=dict(headers))
