"""Failures of the LLM server: the one place where foreign exceptions and error objects become ours.

Its sentences are read by chat users: a key of MIN_SECRET_CHARS or more is never in them, nor the address of the server,
which is `place_of` for the log.
"""

import math
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from app.errors import ContextTooLong, LLMError, LLMRejected, LLMUnavailable
from app.text import clean

LOSING_REDIRECTS = {301, 302, 303}  # they ask for a page; 307 and 308 repeat the request at the other address
MAX_ERROR_BYTES = 64 * 1024  # of the body of an error; only its beginning is quoted
REDIRECTED_TO = "x-redirected-to"  # the location of a losing redirect, renamed so that it is not followed
MAX_QUOTED_CHARS = 300  # of what the server said; some send a whole page
MIN_SECRET_CHARS = 8  # shorter keys are words, like the "none" or "test" of a server without keys
_PASSING = {408, 409, 425, 429}  # of the 4xx
_TOO_LONG = ("context_length", "context length", "context window", "maximum context", "prompt is too long")
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit", "insufficient credit", "insufficient balance")
_OUR_FAULT = ("invalid_request", "badrequest", "context_length_exceeded", "invalid_prompt", "policy")
_WORDS = ("message", "msg", "detail", "error", "title", "reason")  # where servers put what they have to say

IN_LOG = "The log of the service has the address."
CANNOT_BE_SENT = "The request to the LLM server cannot be sent; check that OPENAI_API_KEY has only characters of a key."


@dataclass(frozen=True)
class Endpoint:
    """Where the LLM is, for sentences about it. `secret` is blotted out of whatever the server says.

    Units: `max_retry_after_s` is the longest wait that the server may ask for.
    """

    server: str
    model: str
    secret: str
    max_retry_after_s: float

    @property
    def silent(self) -> LLMUnavailable:
        return LLMUnavailable(
            f"The LLM server of the model {self.model!r} was silent for too long; LLM_TIMEOUT_S is how long it may be."
        )

    def not_understood(self, what: str, *, begun: bool) -> LLMUnavailable:
        cure = "" if begun else f"; check that OPENAI_BASE_URL names an OpenAI-compatible server. {IN_LOG.rstrip('.')}"
        return LLMUnavailable(
            f"The LLM server of the model {self.model!r} sent what cannot be understood ({what}){cure}."
        )

    def no_llm_server(self, what: str) -> LLMRejected:
        return LLMRejected(
            f"OPENAI_BASE_URL answered with {what}, not as an LLM server; check that it is the address of "
            f"an OpenAI-compatible server, which often ends with /v1. {IN_LOG}"
        )


def to_llm_error(exc: Exception, endpoint: Endpoint, *, begun: bool) -> LLMError:
    """Return our error for what an LLM call raised: LLMUnavailable if another attempt may help, else LLMRejected.

    `begun` tells whether some of an answer had arrived: then the address is right.
    """
    match exc:
        case LLMError():
            return exc
        case openai.APIStatusError():
            if exc.status_code in LOSING_REDIRECTS:
                return endpoint.no_llm_server(f"a redirect ({exc.status_code}) to another address")
            return _from_answer(exc.body, exc.status_code, exc.response.headers, endpoint)
        case openai.APIConnectionError() | httpx2.HTTPError():
            cause = exc if isinstance(exc, httpx2.HTTPError) else exc.__cause__ or exc
            return _from_connection(cause, endpoint, begun=begun)
        case TimeoutError():
            return endpoint.silent
        case UnicodeEncodeError():
            return LLMRejected(CANNOT_BE_SENT)
    return endpoint.not_understood(type(exc).__name__, begun=begun)


def place_of(exc: Exception, endpoint: Endpoint) -> str:
    """Return where the server is, for the log, and where it sent us."""
    if isinstance(exc, openai.APIStatusError) and exc.status_code in LOSING_REDIRECTS:
        return f"{endpoint.server!r}, redirected to {_quoted_address(exc.response.headers.get(REDIRECTED_TO, ''))}"
    fault = _fault_in(exc)
    return f"{endpoint.server!r} ({fault.strerror})" if fault is not None else repr(endpoint.server)


def reported_error(chunk: object, event: str, endpoint: Endpoint) -> LLMError | None:
    """Return our error for an error that the server reports within an answer of status 200, None if it reports none."""
    if not isinstance(chunk, dict):
        return _from_answer(chunk, 500, {}, endpoint) if event == "error" else None
    response = chunk.get("response")  # of the Responses API
    reported = chunk.get("error") or (response.get("error") if isinstance(response, dict) else None)
    if not reported and ("error" in (event, chunk.get("type")) or chunk.get("object") == "error" or _only_talks(chunk)):
        reported = chunk
    if not reported:
        reported = next((error for error in map(_error_of_choice, _choices(chunk)) if error), None)
    if not reported:
        return None
    report = reported if isinstance(reported, dict) else {"message": reported}
    return _from_answer(report, _status_in(report), {}, endpoint)


def _from_connection(cause: BaseException, endpoint: Endpoint, *, begun: bool) -> LLMError:
    """Return our error for a connection that could not be made or broke."""
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return LLMRejected(f"OPENAI_BASE_URL must begin with http:// or https://. {IN_LOG}")
    if isinstance(cause, httpx2.LocalProtocolError):
        return LLMRejected(CANNOT_BE_SENT)
    if isinstance(cause, httpx2.TimeoutException) and not isinstance(cause, httpx2.ConnectTimeout):
        return endpoint.silent
    reason = type(cause).__name__
    if (fault := _fault_in(cause)) is not None:
        reason = f"{reason}: {_plain(fault)}"
    if begun:
        return LLMUnavailable(
            f"The connection to the LLM server of the model {endpoint.model!r} broke in the middle of its answer "
            f"({reason})."
        )
    return LLMUnavailable(
        f"The connection to the LLM server of the model {endpoint.model!r} failed ({reason}); "
        f"check that it runs and that OPENAI_BASE_URL names it. {IN_LOG}"
    )


def _fault_in(cause: BaseException) -> OSError | None:
    """Return the fault of the system that says why: no such host, refused, too many open files."""
    deepest: BaseException | None = cause
    while deepest is not None:
        if isinstance(deepest, OSError) and deepest.strerror:
            return deepest
        deepest = deepest.__cause__ or deepest.__context__
    return None


def _plain(fault: OSError) -> str:
    """Return what the system says, without the address that asyncio and TLS put into it."""
    if isinstance(fault, ssl.SSLError):
        return str(fault.reason)
    number = fault.errno or 0  # below zero: of the search for the host's name
    return os.strerror(number) if number > 0 else str(fault.strerror)


def _from_answer(body: object, status: int, headers: Mapping[str, str], endpoint: Endpoint) -> LLMError:
    """Return our error for an error that the server reported, by HTTP status or within the stream."""
    said = _quote(body, endpoint.secret)
    signs = f"{_code(body)} {said}".lower()
    if status == 402 or any(sign in signs for sign in _NO_CREDIT):
        return LLMRejected(f"The account at the LLM server has no credit left ({status}): {said}")
    if status in _PASSING or status >= 500:
        return _passing(status, said, _retry_after_s(headers), endpoint)
    if status == 413 or any(sign in signs for sign in _TOO_LONG):
        return ContextTooLong(
            f"The conversation is too long for the model {endpoint.model!r}; lower CONTEXT_TOKENS, set a model with a "
            f"larger context as OPENAI_MODEL, or send a shorter message. The server said: {said}"
        )
    match status:
        case 401:
            return LLMRejected(  # without its words: servers repeat parts of the key in them
                f"The LLM server of the model {endpoint.model!r} refused our key (401); check OPENAI_API_KEY. {IN_LOG}"
            )
        case 403:
            return LLMRejected(
                f"The LLM server refused access to the model {endpoint.model!r} (403): {said} "
                "Check what OPENAI_API_KEY may be used for."
            )
        case 404 | 405:
            return LLMRejected(
                f"The LLM server does not know the model {endpoint.model!r} or the address ({status}); check "
                f"OPENAI_MODEL and OPENAI_BASE_URL. {IN_LOG} The server said: {said}"
            )
    advice = ""
    if status == 400 and re.search(r"\b(tools?|functions?|stream\w*)\b", signs):
        advice = f" Check that the model {endpoint.model!r} (OPENAI_MODEL) can stream and call tools."
    return LLMRejected(f"The LLM server refused the request ({status}): {said}{advice}")


def _passing(status: int, said: str, retry_after_s: float | None, endpoint: Endpoint) -> LLMError:
    if retry_after_s is not None and retry_after_s > endpoint.max_retry_after_s:
        return LLMRejected(
            f"The LLM server asks to wait {retry_after_s:.6g} s before the next request ({status}): {said} The longest "
            f"wait is {endpoint.max_retry_after_s:g} s (LLM_MAX_RETRY_AFTER_S); send the message again after it."
        )
    return LLMUnavailable(
        f"The LLM server is overloaded or has a fault ({status}): {said}", retry_after_s=retry_after_s
    )


def _status_in(report: Mapping[str, Any]) -> int:
    """Return the HTTP status that an error object amounts to. Without a sign of it that is a passing fault, 500."""
    for key in ("code", "status", "status_code"):
        code = str(report.get(key, ""))
        if len(code) == 3 and code.isdecimal() and 400 <= int(code) < 600:
            return int(code)
    kind = f"{report.get('type')} {report.get('code')}".lower()
    if any(sign in kind for sign in _OUR_FAULT):
        return 400
    return 429 if "rate_limit" in kind else 500


def _only_talks(chunk: Mapping[str, Any]) -> bool:
    """Return whether a chunk says something instead of being a part of an answer."""
    if "choices" in chunk or "usage" in chunk:
        return False
    return bool(chunk.get("detail")) or isinstance(chunk.get("message"), str)


def _choices(chunk: Mapping[str, Any]) -> list[Any]:
    choices = chunk.get("choices")
    return choices if isinstance(choices, list) else []


def _error_of_choice(choice: object) -> object:
    """Return the error that stands in a choice, None if there is none."""
    return choice.get("error") if isinstance(choice, dict) else None


def _code(body: object) -> str:
    return f"{body.get('code')} {body.get('type')}" if isinstance(body, dict) else ""


def _quote(body: object, secret: str) -> str:
    """Return what the server said as a sentence or two, without our key."""
    text = " ".join(clean(_words(body)).split()) or "it gave no reason"
    if len(secret) >= MIN_SECRET_CHARS:
        text = text.replace(secret, "…")
    if len(text) > MAX_QUOTED_CHARS:
        return text[:MAX_QUOTED_CHARS] + "…"
    return text if text[-1] in ".!?…" else f"{text}."


def _words(said: object, depth: int = 0) -> str:
    """Return the words in an error object, wherever the server has put them."""
    if depth > 4 or said is None or isinstance(said, bool):
        return ""
    if isinstance(said, dict):
        return next((words for key in _WORDS if (words := _words(said.get(key), depth + 1))), "")
    if isinstance(said, list):
        return "; ".join(words for part in said[:3] if (words := _words(part, depth + 1)))
    text = str(said)
    if text.lstrip()[:1] == "<":  # a page; its title is what a person would read
        title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.IGNORECASE)
        return f"a web page{f' titled {title[1].strip()!r}' if title else ''}"
    return text


def _quoted_address(address: str) -> str:
    """Return where a redirect leads, without credentials and query."""
    try:
        return repr(str(httpx2.URL(address).copy_with(userinfo=b"", query=None)))
    except (httpx2.InvalidURL, ValueError, TypeError):
        return "an address that is none"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait that the server asked for.  Source: RFC 9110, 10.2.3, and OpenAI for `retry-after-ms`."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    return _seconds(headers.get("retry-after"))


def _seconds(value: str | None) -> float | None:
    """Return the seconds that a number or an HTTP date stands for, None for what is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


async def tame(response: httpx2.Response) -> None:
    """Keep the HTTP client, as its hook, from following a redirect that would lose the request.

    It reads no more of an error than is quoted either. Some have no end.
    """
    if response.status_code in LOSING_REDIRECTS:
        response.headers[REDIRECTED_TO] = response.headers.pop("location", "")
    if not response.is_success and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Beginning(response.stream)


class _Beginning(httpx2.AsyncByteStream):
    """The first MAX_ERROR_BYTES of a stream."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_ERROR_BYTES
        async for data in self._stream:
            yield data[:left]
            left -= len(data)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
