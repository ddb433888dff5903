"""Failures of the LLM server: the one place where foreign exceptions become ours.

Pure: no I/O. Its sentences are read by chat users; they never contain the API key.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import openai

from app.errors import LLMError, LLMRejected, LLMUnavailable

MAX_QUOTED_CHARS = 300  # of what the server said; some send a whole page
_PASSING = {408, 409, 425, 429}  # of the 4xx
_TOO_LONG = ("context_length", "context length", "context window", "maximum context", "prompt is too long")


@dataclass(frozen=True)
class Endpoint:
    """Where the LLM is, for sentences about it; `secret` is blotted out of whatever the server says."""

    server: str
    model: str
    secret: str


def to_llm_error(exc: Exception, endpoint: Endpoint) -> LLMError:
    """Return our error for what an LLM call raised: LLMUnavailable if another attempt may help, else LLMRejected."""
    match exc:
        case openai.APIStatusError():
            return _from_answer(exc, exc.status_code, exc.response.headers, endpoint)
        case openai.APITimeoutError():
            return LLMUnavailable(
                f"The LLM server {endpoint.server!r} was silent for too long; LLM_TIMEOUT_S is how long it may be."
            )
        case openai.APIConnectionError():
            reason = type(exc.__cause__ or exc).__name__
            return LLMUnavailable(
                f"The connection to the LLM server {endpoint.server!r} failed ({reason}); "
                "check that it runs and that OPENAI_BASE_URL names it."
            )
        case openai.APIError():
            return _from_answer(exc, _status_in(exc), {}, endpoint)
    return LLMUnavailable(
        f"The LLM server {endpoint.server!r} sent what cannot be understood ({type(exc).__name__}); "
        "check that OPENAI_BASE_URL names an OpenAI-compatible server."
    )


def _from_answer(exc: openai.APIError, status: int, headers: Mapping[str, str], endpoint: Endpoint) -> LLMError:
    """Return our error for an error that the server reported, by HTTP status or within the stream."""
    said = _quote(exc, endpoint.secret)
    if status in _PASSING or status >= 500:
        return LLMUnavailable(
            f"The LLM server is overloaded or has a fault ({status}): {said}", retry_after_s=_retry_after_s(headers)
        )
    if status == 413 or any(sign in f"{exc.code} {said}".lower() for sign in _TOO_LONG):
        return LLMRejected(
            f"The conversation is too long for the model {endpoint.model!r}; lower CONTEXT_TOKENS, set a model with a "
            f"larger context as OPENAI_MODEL, or send a shorter message. The server said: {said}"
        )
    match status:
        case 401 | 403:
            return LLMRejected(  # without its words: servers repeat the key in them
                f"The LLM server {endpoint.server!r} refused our key ({status}); check OPENAI_API_KEY."
            )
        case 404:
            return LLMRejected(
                f"The LLM server {endpoint.server!r} does not know the model {endpoint.model!r} or the address (404); "
                f"check OPENAI_MODEL and OPENAI_BASE_URL. The server said: {said}"
            )
    return LLMRejected(
        f"The LLM server refused the request ({status}): {said} Check that the model {endpoint.model!r} (OPENAI_MODEL) "
        "can stream and call tools."
    )


def _status_in(exc: openai.APIError) -> int:
    """Return the HTTP status that an error within a stream amounts to; without a sign of it a passing fault, 500."""
    if exc.code is not None and exc.code.isdecimal() and 400 <= int(exc.code) < 600:
        return int(exc.code)
    if exc.type == "invalid_request_error" or exc.code == "context_length_exceeded":
        return 400
    return 429 if "rate_limit" in f"{exc.type} {exc.code}" else 500


def _quote(exc: openai.APIError, secret: str) -> str:
    """Return what the server said, cut to a sentence or two, without our key."""
    said: object = exc.body
    if isinstance(said, Mapping):
        said = said.get("message") or said.get("detail") or said.get("error")
    text = " ".join(str(said or exc.message).split())
    if secret:
        text = text.replace(secret, "…")
    return text if len(text) <= MAX_QUOTED_CHARS else text[:MAX_QUOTED_CHARS] + "…"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait that the server asked for.  Source: RFC 9110, 10.2.3; `retry-after-ms` is OpenAI's."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    return _seconds(headers.get("retry-after"))


def _seconds(value: str | None) -> float | None:
    """Parse a number or an HTTP date; None for what is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
