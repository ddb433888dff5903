"""What the LLM is shown of the files of a message: images and PDF as they are, text as text, bounded.

The files are read for one request, and go nowhere else. What is gone is said in its place, so that nothing fails by it.
"""

import base64
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from app.errors import ContextTooLong, LLMError, LLMRejected, LLMUnavailable
from app.text import clean
from app.turns.compaction.fitting import inlined
from app.turns.transcript import Attachment, Item, UserItem

Read = Callable[[str], Awaitable[bytes | None]]
Part = dict[str, Any]

MAX_SENT_BYTES = 24_000_000  # of the images and PDF of one request; servers take 20 to 50 MB, and base64 adds a third
_FILES = r"(image|vision|multi-?modal|modalit|mmproj|pdf|input_file|file_data|media)"
_REFUSED = re.compile(rf"{_FILES}|content.{{0,20}}(part|type|array|string)", re.IGNORECASE | re.DOTALL)
# Of a passing fault more is asked: some local servers answer 500 to an image that their model cannot read.
_CANNOT = re.compile(
    rf"{_FILES}.{{0,60}}(n[o']t support|unsupported)|(n[o']t support|unsupported).{{0,60}}{_FILES}", re.I
)
REFUSED = (
    " The LLM server may not take images or PDF: it was sent {names}. From here on it is told "
    "of them only: send a message to go on."
)


ATTACHED = "[The user has attached"


class Shown(UserItem):
    """A message whose files have been read; `parts` is the content of the message that the LLM is sent."""

    parts: str | list[Part]


def has_files(items: Sequence[Item]) -> bool:
    """Return whether messages among `items` have files."""
    return any(isinstance(item, UserItem) and item.attachments for item in items)


def turned_down(error: LLMError, model: str) -> bool:
    """Return whether a server says that it takes no images or PDF. The name of a model tells nothing."""
    words = error.message.replace(model, "")
    if isinstance(error, LLMUnavailable):
        return _CANNOT.search(words) is not None
    return isinstance(error, LLMRejected) and not isinstance(error, ContextTooLong) and bool(_REFUSED.search(words))


async def with_files(items: Sequence[Item], read: Read, refused: Collection[str]) -> list[Item]:
    """Return `items` with the files of their messages, the newest first as far as one request may have them.

    Those that the server has `refused` are named only.
    """
    shown: list[Item] = []
    room = MAX_SENT_BYTES
    for item in reversed(items):
        if isinstance(item, UserItem) and item.attachments:
            parts, sent = await _parts_of(item, read, refused, room)
            room -= sent
            item = Shown(message_id=item.message_id, content=item.content, attachments=item.attachments, parts=parts)
        shown.append(item)
    return shown[::-1]


def sent_as_they_are(items: Sequence[Item]) -> dict[str, str]:
    """Return the names of the files that are in a request as they are, by their ids: what a server may not take."""
    files = (
        file for item in items if isinstance(item, Shown) and isinstance(item.parts, list) for file in item.attachments
    )
    return {file.file_id: file.name for file in files if not _is_text(file)}


async def _parts_of(item: UserItem, read: Read, refused: Collection[str], room: int) -> tuple[str | list[Part], int]:
    """Return the content of a message, text alone where there is nothing else, and how many bytes are in it."""
    parts: list[Part] = [_text(item.said)] if item.said else []
    sent = 0
    for file in item.attachments:
        if not _is_text(file) and file.file_id in refused:
            parts.append(_text(f"{_title(file)}: it is not shown, as the LLM server refuses it]"))
        elif not _is_text(file) and sent + file.bytes > room:
            parts.append(_text(f"{_title(file)}: it is not shown, as there are too many files in this chat]"))
        elif (content := await read(file.file_id)) is None:
            parts.append(_text(f"{_title(file)}: it is gone]"))
        elif _is_text(file):
            parts.append(_text(_quoted(file, content, inlined(item.attachments))))
        else:
            sent += file.bytes
            parts += [_text(f"{_title(file)}]"), _as_it_is(file, content)]
    if sent == 0:
        return "\n\n".join(part["text"] for part in parts), 0
    return parts, sent


def _is_text(file: Attachment) -> bool:
    return file.media_type.startswith("text/")


def _title(file: Attachment) -> str:
    return f"{ATTACHED} {file.name!r} ({file.media_type}, {file.bytes} bytes)"


def _quoted(file: Attachment, content: bytes, limit: int) -> str:
    """Return a text file with each line marked: nothing in it can look like the user's own words."""
    text = clean(content.decode("utf-8", "replace"))
    lines = "\n".join(f"> {line}" for line in text[:limit].splitlines())
    more = f"\n[… {len(text) - limit} characters of it are left out]" if len(text) > limit else ""
    return f"{_title(file)}. It says:]\n{lines}{more}"


def _as_it_is(file: Attachment, content: bytes) -> Part:
    url = f"data:{file.media_type};base64,{base64.b64encode(content).decode()}"
    if file.media_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"filename": file.name, "file_data": url}}


def _text(text: str) -> Part:
    return {"type": "text", "text": text}
