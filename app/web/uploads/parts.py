"""Messages in parts, as clients of other makers send them: the text, and files as data URLs, which are stored first.

An address of another server is refused: nothing is ever fetched, as it could be one that only this machine reaches.
"""

import base64
import binascii
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from app.errors import UsageError
from app.files import Files
from app.values import quoted

_REMOTE = "The message names a file at another server: nothing is fetched from there. Send its content as a data URL"
_MEDIA = ("image", "document")  # of AG-UI; sound and film no LLM is sent


@dataclass(frozen=True)
class DataUrl:
    """A file within a message, as it was sent."""

    name: str
    url: str


@dataclass(frozen=True)
class InParts:
    """What a message says, and the files that it has."""

    text: str
    files: tuple[DataUrl, ...] = ()


def read_content(content: Any, whose: str = "The message") -> InParts:
    """Return the content of a message, a text or a list of parts. Errors: UsageError for what is neither."""
    if isinstance(content, str):
        return InParts(content)
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise UsageError(f"The content of {_lower(whose)} must be a text or a list of parts, got {quoted(content)}")
    texts: list[str] = []
    files: list[DataUrl] = []
    for part in content:
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif (file := _file_in(part)) is not None:
            files.append(file)
        else:
            kind = quoted(str(part.get("type")))
            raise UsageError(f"{whose} has parts of type {kind}: this agent reads text, images and files only")
    return InParts("\n".join(texts), tuple(files))


async def stored(files: Files, key: str, message_id: str, brought: Iterable[DataUrl]) -> list[dict[str, str]]:
    """Keep the files of a message and return its `attachments`. The same message, sent again, has the same ones.

    Errors: UsageError for what is no data URL; as `Files.add`.
    """
    kept = []
    for place, file in enumerate(brought):
        declared, content = _decoded(file.url)
        seed = hashlib.sha256(f"{message_id}\n{place}\n".encode() + content).hexdigest()
        attachment, _ = await files.add(key, file.name, declared, _whole(content), seed=seed)
        kept.append({"file_id": attachment.file_id})
    return kept


def _file_in(part: dict[str, Any]) -> DataUrl | None:
    """Return the file of a part: of Chat Completions, of AG-UI, or of AG-UI as it was; None for another part.

    Errors: UsageError for one that is elsewhere.
    """
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        return _checked("image", image.get("url") if isinstance(image, dict) else image)
    if kind == "file" and isinstance(file := part.get("file"), dict):
        return _checked(_named(file.get("filename")), file.get("file_data"))
    if kind in _MEDIA and isinstance(source := part.get("source"), dict):
        metadata = part.get("metadata")
        name = _named(metadata.get("filename") or metadata.get("name") if isinstance(metadata, dict) else None, kind)
        if source.get("type") == "data":
            return DataUrl(name, f"data:{source.get('mimeType', '')};base64,{source.get('value', '')}")
        return _checked(name, source.get("value"))
    if kind == "binary":
        name = _named(part.get("filename"))
        if isinstance(part.get("data"), str):
            return DataUrl(name, f"data:{part.get('mimeType', '')};base64,{part['data']}")
        return _checked(name, part.get("url"))
    return None


def _checked(name: str, url: Any) -> DataUrl:
    if not isinstance(url, str) or not url[:5].lower() == "data:":
        raise UsageError(_REMOTE)
    return DataUrl(name, url)


def _named(name: Any, otherwise: str = "file") -> str:
    return name if isinstance(name, str) and name else otherwise


def _decoded(url: str) -> tuple[str, bytes]:
    """Return the kind that a data URL declares, and its content."""
    head, comma, data = url[5:].partition(",")
    declared, *parameters = head.split(";")
    try:
        if not comma:
            raise ValueError("it has no comma")
        if "base64" in (each.strip().lower() for each in parameters):
            return declared, base64.b64decode(data, validate=True)
        return declared, unquote_to_bytes(data)
    except (binascii.Error, ValueError) as exc:
        raise UsageError(f"The message has a data URL that cannot be read ({exc}): {quoted(url)}") from exc


def _lower(whose: str) -> str:
    return whose[:1].lower() + whose[1:]


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
