"""The reply of the LLM: the value, and its assembly from the chunks of a stream.

No I/O. It takes what real servers send, not only what the specification says they should.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from app.errors import LLMRejected, LLMUnavailable
from app.llm.calls import CallDrafts
from app.text import clean
from app.turns.transcript import AssistantItem, Finish, Usage
from app.values import Stored

ERROR = "error"  # a finish_reason of some servers, with or without an error object beside it


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
    calls that a person must approve by a rule, as it stood when the LLM asked for them.
    """

    item: AssistantItem
    usage: Usage
    started_at: float
    ended_at: float
    failure: Failure | None = None
    ended_by: Literal["cancellation", "steering"] | None = None
    to_approve: tuple[int, ...] = Field((), exclude_if=lambda places: not places)


class Draft:
    """The reply while it arrives. `chars` is how much text it holds, `done` whether the server has sent its [DONE]."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self._texts: list[str] = []
        self._half = ""  # the first half of a character whose second half is due in the next delta
        self._calls = CallDrafts()
        self._finish_reason: str | None = None
        self._usage = Usage(calls=1, unmetered_calls=1)
        self._text_chars = 0
        self.done = False

    @property
    def finished(self) -> bool:
        """Whether the server has said that the reply is complete, and there is one."""
        said = self.done if self._finish_reason is None else self._finish_reason != ERROR
        return said and not self._empty

    @property
    def chars(self) -> int:
        return self._text_chars + self._calls.chars

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts) + clean(self._half)

    def add(self, chunk: object) -> str:
        """Take one chunk of the stream, or a whole answer in one. Return the text that it brought.

        Errors: ValueError when it is no chunk of Chat Completions.
        """
        if not isinstance(chunk, dict):
            raise ValueError(f"a chunk that is no object: {str(chunk)[:80]!r}")
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = Usage(
                calls=1,
                prompt_tokens=_count(usage.get("prompt_tokens")),
                completion_tokens=_count(usage.get("completion_tokens")),
            )
        choice = _first_choice(chunk.get("choices"))
        if choice is None:
            return ""
        if reason := choice.get("finish_reason"):  # some servers send an empty one in every chunk
            self._finish_reason = str(reason)
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, dict):
            raise ValueError(f"a delta that is no object: {str(delta)[:80]!r}")
        for call in _list(delta.get("tool_calls")):
            self._calls.add(call)
        return self._add_text(_text(delta.get("content")) + _text(delta.get("refusal")))

    def close(self) -> str:
        """Take the end of the stream and return the text that only it completes."""
        text, self._half = clean(self._half), ""
        self._texts.append(text)
        return text

    def complete(self) -> Reply:
        """Return the reply at the end of the stream.

        Errors: LLMUnavailable when the stream was cut off or the answer is empty, LLMRejected when another attempt
        would be empty too.
        """
        if self._finish_reason is None and not self.done:
            raise LLMUnavailable(CUT_OFF)
        if self._finish_reason == ERROR:
            raise LLMUnavailable("The LLM server broke its answer off because of an error of its own.")
        if self._empty:
            raise self._why_empty()
        return self._reply(AssistantItem(content=self.text, tool_calls=self._calls.result(), finish=self._finish()))

    def abort(self) -> Reply:
        """Return the text of a reply that we ended. Its tool calls are dropped, as they may lack their end."""
        if self.finished:
            return self.complete()
        return self._reply(AssistantItem(content=self.text, finish=Finish.ABORTED))

    def _reply(self, item: AssistantItem) -> Reply:
        return Reply(item=item, usage=self._usage, started_at=self._started_at, ended_at=time.time())

    def _add_text(self, text: str) -> str:
        """Take text and return what is whole of it. Half a character at its end waits for the next delta."""
        if not text:
            return ""
        self._text_chars += len(text)
        if self._half or not text.isascii():
            text, self._half = self._half + text, ""
            if "\ud800" <= text[-1] <= "\udbff":
                text, self._half = text[:-1], text[-1]
            text = clean(text)
        self._texts.append(text)
        return text

    @property
    def _empty(self) -> bool:
        return not self._calls and not any(text.strip() for text in self._texts)

    def _why_empty(self) -> LLMRejected | LLMUnavailable:
        if self._finish_reason == Finish.CONTENT_FILTER:
            return LLMRejected("The content filter of the LLM server withheld the answer; put the request differently.")
        if self._finish_reason == Finish.LENGTH:
            return LLMRejected(
                "The LLM used its token limit up before it had answered anything; raise that limit at the LLM server, "
                "or set a model that thinks less before it answers as OPENAI_MODEL."
            )
        return LLMUnavailable(EMPTY)

    def _finish(self) -> Finish:
        if self._finish_reason in (Finish.LENGTH, Finish.CONTENT_FILTER):
            return Finish(self._finish_reason)
        return Finish.TOOL_CALLS if self._calls else Finish.STOP  # many servers say "stop" after tool calls


def _first_choice(choices: object) -> Mapping[str, Any] | None:
    """Return the choice that is the reply: the one with index 0, also if its index is left out."""
    for choice in _list(choices):
        if not choice.get("index"):
            return choice
    return None


def _list(value: object) -> list[Mapping[str, Any]]:
    """Return a list of objects, empty for null. A lone object is a list of one."""
    if value is None:
        return []
    entries = [value] if isinstance(value, dict) else value
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"no list of objects: {str(value)[:80]!r}")
    return entries


def _text(content: object) -> str:
    """Return the text of a content: a text, or parts of which those that think are left out."""
    match content:
        case None:
            return ""
        case str():
            return content
        case Mapping():
            if content.get("type", "text") not in ("text", "output_text", "refusal"):
                return ""
            return _text(content.get("text", content.get("refusal")))
        case list():
            return "".join(map(_text, content))
    return str(content)


def _count(value: object) -> int:
    """Return a number of tokens, 0 for what is none."""
    return max(0, value) if isinstance(value, int) else 0
