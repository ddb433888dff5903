"""What a call of an MCP tool gave, as text for the LLM.

Pure. Text is taken as it is; data becomes JSON; images, sound and files become a sentence.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field

from app.text import clean, shorten
from app.values import Stored

MAX_LINE_CHARS = 300
_PARSED_CHARS = 1_000_000  # of a text that may be the data once more


class AskedBack(Stored):
    """One question. The server calls it `name`; `form` is the JSON schema of the answer."""

    name: str
    message: str
    form: dict[str, Any]


class InputNeeded(Stored):
    """What a server asks, when in seconds since 1970, and the state that it wants back as it is."""

    questions: tuple[AskedBack, ...] = ()
    state: str | None = None
    asked_at: float


class Reply(Stored):
    """The answers to what a server has asked, by the names of its questions, and its state."""

    answers: dict[str, dict[str, Any]]
    state: str | None = None


class Answer(Stored):
    """The result of a call. `may_have_run` says of one that failed that nobody knows what it did.

    With `needed` it is no result yet: the server wants to know something before it goes on. If `ended`, its turn was
    cancelled meanwhile, as the cancellation that is on its way will say.
    """

    content: str
    failed: bool = False
    may_have_run: bool = False
    needed: InputNeeded | None = Field(None, exclude_if=lambda value: value is None)
    ended: bool = Field(False, exclude_if=lambda value: not value)


def text_of_result(content: Iterable[Any], structured: object, limit: int) -> str:
    """Return the text of a result: its blocks, then its structured data unless a block says the same.

    It is cut off at `limit` characters.
    """
    blocks = list(content)
    parts = [part for block in blocks for part in _text_of(block)]
    if structured is not None and not any(_says(part, structured) for part in parts):
        parts.append(json.dumps(structured, ensure_ascii=False))
    return cut(clean("\n".join(part for part in parts if part)) or "The tool gave no result, and no error.", limit)


def cut(text: str, limit: int) -> str:
    """Return `text`, cut off so that it and the note of it have `limit` characters."""
    if len(text) <= limit:
        return text
    note = f"\n[cut off: {len(text)} characters]"
    return f"{text[: max(0, limit - len(note))]}{note}"


def _text_of(block: Any) -> Iterator[str]:
    kind = getattr(block, "type", "unknown")
    if kind == "text":
        yield block.text
    elif kind in ("image", "audio"):
        yield f"[{kind}, {_line(block.mime_type)}, {len(block.data) * 3 // 4} bytes: it cannot be shown here]"
    elif kind == "resource_link":
        yield f"[resource {_line(block.name)}: {_line(block.uri)}]"
    elif kind == "resource":
        resource = block.resource
        text = getattr(resource, "text", None)
        if text is None:
            size = len(getattr(resource, "blob", "")) * 3 // 4
            yield f"[resource {_line(resource.uri)}, {_line(resource.mime_type or 'data')}, {size} bytes: not shown]"
        else:
            yield f"[resource {_line(resource.uri)}]"
            yield text
    else:
        yield f"[{_line(kind)}: it cannot be shown here]"


def _line(text: object) -> str:
    return shorten(str(text), MAX_LINE_CHARS)


def _says(text: str, data: object) -> bool:
    """Return whether a text is the data: as JSON, as the protocol asks servers to repeat it, or as its only value."""
    if isinstance(data, dict) and [_as_text(value) for value in data.values()] == [text]:
        return True
    if len(text) > _PARSED_CHARS or not text.lstrip().startswith(("{", "[", '"')):
        return False
    try:
        return bool(json.loads(text) == data)
    except (ValueError, RecursionError):
        return False


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
