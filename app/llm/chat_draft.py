"""A reply of Chat Completions, put together from the chunks of a stream.

No I/O. It takes what real servers send, not only what the specification says they should.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.llm.calls import CallDrafts
from app.llm.draft import Draft, list_of, usage_of
from app.text import clean
from app.turns.transcript import ToolCall

REASONING_CONTENT = "reasoning_content"  # DeepSeek, and servers after its example
REASONING = "reasoning"  # vLLM and OpenRouter
DETAILS = "reasoning_details"  # OpenRouter: with signatures, and parts that are encrypted
_TEXTS = ("text", "output_text", "refusal")
_THOUGHTS = ("thinking", "reasoning")


class ChatDraft(Draft):
    """A reply of Chat Completions while it arrives."""

    document_sign = "choices"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._calls = CallDrafts()
        self._field = ""  # in which the thoughts came
        self._details: list[dict[str, Any]] = []

    def add(self, chunk: object) -> str:
        if not isinstance(chunk, dict):
            raise ValueError(f"a chunk that is no object: {str(chunk)[:80]!r}")
        if (usage := chunk.get("usage")) is not None:
            self._usage = usage_of(usage, read="prompt_tokens", written="completion_tokens", unmetered=self._usage)
        choice = _first_choice(chunk.get("choices"))
        if choice is None:
            return ""
        if reason := choice.get("finish_reason"):  # some servers send an empty one in every chunk
            self._finish_reason = str(reason)
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, dict):
            raise ValueError(f"a delta that is no object: {str(delta)[:80]!r}")
        content = delta.get("content")
        if len(delta) == 1 and isinstance(content, str):  # as nearly all are
            return self._text.add(content)
        for call in list_of(delta.get("tool_calls")):
            self._calls.add(call)
        self._add_thoughts(delta, content)
        return self._text.add(_text(content) + _text(delta.get("refusal")))

    def _add_thoughts(self, delta: Mapping[str, Any], content: object) -> None:
        """Take what the LLM thinks, once: some servers send it under two names, some as parts of the content."""
        if details := delta.get(DETAILS):
            for detail in list_of(details):
                self._add_detail(dict(detail))
        for field in (REASONING_CONTENT, REASONING):
            if (thought := delta.get(field)) and isinstance(thought, str):
                self._field = self._field or field
                self._think(thought)
                return
        if details:
            self._think("".join(_words(detail) for detail in list_of(details)))
        if isinstance(content, list | dict):
            self._think(_thought_in(content))

    def _add_detail(self, detail: dict[str, Any]) -> None:
        """Keep a part of `reasoning_details`: pieces of one text are joined, as the server wants them back whole."""
        last = self._details[-1] if self._details else None
        same = last is not None and all(last.get(key) == detail.get(key) for key in ("type", "index"))
        if last is not None and same and detail.get("type") in ("reasoning.text", "reasoning.summary"):
            for key in ("text", "summary"):
                if isinstance(piece := detail.pop(key, None), str):
                    last[key] = (last.get(key) or "") + piece
            last.update({key: value for key, value in detail.items() if value is not None})
        else:
            self._details.append(detail)

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        return self._calls.result()

    @property
    def _call_chars(self) -> int:
        return self._calls.chars

    @property
    def _has_calls(self) -> bool:
        return bool(self._calls)

    def _sealed(self) -> str:
        kept: dict[str, Any] = {}
        if self._details:
            kept[DETAILS] = self._details
        elif self._field:
            kept["field"] = self._field
        if extra := self._calls.extra():
            kept["calls"] = extra
        return clean(json.dumps(kept, ensure_ascii=False)) if kept else ""


def _first_choice(choices: object) -> Mapping[str, Any] | None:
    """Return the choice that is the reply: the one with index 0, also if its index is left out."""
    for choice in list_of(choices):
        if not choice.get("index"):
            return choice
    return None


def _text(content: object) -> str:
    """Return the text of a content: a text, or parts of which those that think are left out."""
    match content:
        case None:
            return ""
        case str():
            return content
        case Mapping():
            if content.get("type", "text") not in _TEXTS:
                return ""
            return _text(content.get("text", content.get("refusal")))
        case list():
            return "".join(map(_text, content))
    return str(content)


def _thought_in(content: object) -> str:
    """Return the text of those parts of a content that think (Mistral)."""
    match content:
        case list():
            return "".join(map(_thought_in, content))
        case Mapping() if content.get("type") in _THOUGHTS:
            found = next((content[key] for key in (*_THOUGHTS, "text") if content.get(key)), None)
            return _text(found)
    return ""


def _words(detail: Mapping[str, Any]) -> str:
    """Return what people can read of a part of `reasoning_details`."""
    found = detail.get("text") or detail.get("summary")
    return found if isinstance(found, str) else ""
