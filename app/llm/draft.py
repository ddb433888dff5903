"""The reply while it arrives: what both APIs have in common. `chat_draft.py` and `response_draft.py` read their chunks.

No I/O.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from app.errors import LLMRejected, LLMUnavailable
from app.llm.reply import CUT_OFF, EMPTY, Reply
from app.text import clean
from app.turns.transcript import AssistantItem, Finish, Thought, ToolCall, Usage

ERROR = "error"  # a finish_reason of some servers, with or without an error object beside it
FAULT = "The LLM server broke its answer off because of an error of its own."
MAX_TOKENS = 2**53  # larger numbers are no count, and no JavaScript reads them

Tell = Callable[[str], object]


class TextPieces:
    """A text that arrives in pieces, of which one may end within a character."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._half = ""  # the first half of a character whose second half is due in the next piece
        self.chars = 0

    def __str__(self) -> str:
        return "".join(self._pieces) + clean(self._half)

    @property
    def blank(self) -> bool:
        """Whether there is nothing to read in it."""
        return not any(piece.strip() for piece in self._pieces)

    def add(self, text: str) -> str:
        """Take text and return what is whole of it. Half a character at its end waits for the next piece."""
        if not text:
            return ""
        self.chars += len(text)
        if self._half or not text.isascii():
            text, self._half = self._half + text, ""
            if "\ud800" <= text[-1] <= "\udbff":
                text, self._half = text[:-1], text[-1]
            text = clean(text)
        self._pieces.append(text)
        return text

    def close(self) -> str:
        """Take the end and return the text that only it completes."""
        text, self._half = clean(self._half), ""
        if text:
            self._pieces.append(text)
        return text


class Draft:
    """A reply while it arrives. `done` tells whether the server has sent its last word.

    `on_thought` is given what the LLM thinks, piece by piece. Of that, `max_thought_chars` are kept; the call goes on.
    `maker` names the server and the model that can read what is sealed.
    """

    document_sign = ""  # the field by which a whole answer, not streamed, is known

    def __init__(self, *, maker: str = "", on_thought: Tell | None = None, max_thought_chars: int = 200_000) -> None:
        self._started_at = time.time()
        self._text = TextPieces()
        self._thought = TextPieces()
        self._maker = maker
        self._on_thought = on_thought or (lambda _: None)
        self._max_thought_chars = max_thought_chars
        self._finish_reason: str | None = None
        self._usage = Usage(calls=1, unmetered_calls=1)
        self.done = False

    # What the dialects do differently

    def add(self, chunk: object) -> str:
        """Take one chunk of the stream, or a whole answer in one. Return the text that it brought.

        Errors: ValueError when it is none.
        """
        raise NotImplementedError

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        raise NotImplementedError

    @property
    def _call_chars(self) -> int:
        raise NotImplementedError

    @property
    def _has_calls(self) -> bool:
        raise NotImplementedError

    def _sealed(self) -> str:
        """Return what the server wants back within this turn, as JSON; "" for nothing."""
        raise NotImplementedError

    # What they share

    @property
    def finished(self) -> bool:
        """Whether the server has said that the reply is complete, and there is one."""
        said = self.done if self._finish_reason is None else self._finish_reason != ERROR
        return said and not self._empty

    @property
    def chars(self) -> int:
        """How much text and tool calls it holds."""
        return self._text.chars + self._call_chars

    @property
    def begun(self) -> bool:
        """Whether some of an answer has come, if only thoughts."""
        return self.chars > 0 or self._thought.chars > 0

    @property
    def text(self) -> str:
        """The text so far."""
        return str(self._text)

    def close(self) -> str:
        """Take the end of the stream and return the text that only it completes."""
        if thought := self._thought.close():
            self._on_thought(thought)
        return self._text.close()

    def complete(self) -> Reply:
        """Return the reply at the end of the stream.

        Errors: LLMUnavailable when the stream was cut off or the answer is empty, LLMRejected when another attempt
        would be empty too.
        """
        if self._finish_reason is None and not self.done:
            raise LLMUnavailable(CUT_OFF)
        if self._finish_reason == ERROR:
            raise LLMUnavailable(FAULT)
        if self._empty:
            raise self._why_empty()
        finish = self._finish()
        sealed = self._sealed() if finish is Finish.TOOL_CALLS else ""  # nobody asks for it behind an answer
        item = AssistantItem(
            content=self.text, tool_calls=self._tool_calls(), finish=finish, thought=self._thought_with(sealed)
        )
        return self._reply(item)

    def abort(self) -> Reply:
        """Return the text of a reply that we ended. Its tool calls are dropped, as they may lack their end.

        What it used is unknown, unless the server has counted all along.
        """
        if self.finished:
            return self.complete()
        item = AssistantItem(content=self.text, finish=Finish.ABORTED, thought=self._thought_with(""))
        return self._reply(item)

    def _reply(self, item: AssistantItem) -> Reply:
        return Reply(item=item, usage=self._usage, started_at=self._started_at, ended_at=time.time())

    def _think(self, text: str) -> None:
        """Take a piece of what the LLM thinks."""
        text = text[: max(0, self._max_thought_chars - self._thought.chars)]
        if text and (whole := self._thought.add(text)):
            self._on_thought(whole)

    def _thought_with(self, sealed: str) -> Thought | None:
        text = str(self._thought)
        if not sealed and not text.strip():
            return None
        return Thought(text=text, sealed=sealed, maker=self._maker if sealed else "")

    @property
    def _empty(self) -> bool:
        return not self._has_calls and self._text.blank

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
        return Finish.TOOL_CALLS if self._has_calls else Finish.STOP  # many servers say "stop" after tool calls


def usage_of(reported: object, *, read: str, written: str, unmetered: Usage) -> Usage:
    """Return the tokens that a server reports for a call, `unmetered` if it reports none that can be believed.

    `read` and `written` are what the API calls the tokens in and out; the details of each are in `<name>_details`.
    """
    if not isinstance(reported, Mapping):
        return unmetered
    tokens_in, tokens_out = _count(reported.get(read)), _count(reported.get(written))
    if tokens_in is None and tokens_out is None:
        return unmetered
    cached = _detail(reported, f"{read}_details", "cached_tokens")
    if cached is None:
        cached = _count(reported.get("prompt_cache_hit_tokens"))  # DeepSeek
    return Usage(
        calls=1,
        prompt_tokens=tokens_in or 0,
        completion_tokens=tokens_out or 0,
        cached_tokens=cached,
        reasoning_tokens=_detail(reported, f"{written}_details", "reasoning_tokens"),
    )


def _detail(reported: Mapping[str, Any], details: str, name: str) -> int | None:
    found = reported.get(details)
    return _count(found.get(name)) if isinstance(found, Mapping) else _count(reported.get(name))


def _count(value: object) -> int | None:
    """Return a number of tokens, None for what is none: null, a negative number, a text that is no number."""
    if isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_TOKENS else None


def list_of(value: object) -> list[Mapping[str, Any]]:
    """Return a list of objects, empty for null. A lone object is a list of one.

    Errors: ValueError when it is neither.
    """
    if value is None:
        return []
    entries = [value] if isinstance(value, dict) else value
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"no list of objects: {str(value)[:80]!r}")
    return entries
