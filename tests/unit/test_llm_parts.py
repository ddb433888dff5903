"""`app/llm/parts.py` and what becomes of it on the wire: what the LLM is shown of files."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.errors import ContextTooLong, LLMError, LLMRejected, LLMUnavailable, ReplyTooLong
from app.llm.offline.model import _chunks
from app.llm.parts import MAX_SENT_BYTES, has_files, sent_as_they_are, turned_down, with_files
from app.llm.responses_api import to_input
from app.llm.wire import to_messages
from app.turns.compaction.fitting import MAX_INLINED_CHARS, estimate_tokens
from app.turns.transcript import AssistantItem, Attachment, Item, Message, UserItem
from tests.unit.files.test_kinds import PNG

CONTENTS = {"img": PNG, "pdf": b"%PDF-", "csv": b"a,b\n\n1,2", "big": b"x" * 100_000, "bad": b"\xff\xfe"}
URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def attached(file_id: str, media_type: str, size: int | None = None) -> Attachment:
    size = len(CONTENTS.get(file_id, b"")) if size is None else size
    return Attachment(file_id=file_id, name=f"{file_id}.x", media_type=media_type, bytes=size)


IMAGE, PDF, CSV = attached("img", "image/png"), attached("pdf", "application/pdf"), attached("csv", "text/csv")


def said(text: str, *files: Attachment) -> UserItem:
    return UserItem(message_id="m", content=text, attachments=files)


async def read(file_id: str) -> bytes | None:
    return CONTENTS.get(file_id)


async def content_of(*items: Item, refused: Sequence[str] = ()) -> Any:
    """Return the content of the last message of a request."""
    return to_messages(await with_files(items, read, refused), "system")[-1]["content"]


async def test_an_image_goes_as_it_is() -> None:
    """An image is a part of its message, behind its name; so is a PDF. The text of the user stands first."""
    content = await content_of(said("look", IMAGE, PDF))
    assert [part["type"] for part in content] == ["text", "text", "image_url", "text", "file"]
    assert content[0] == {"type": "text", "text": "look"}
    assert content[1]["text"] == "[The user has attached 'img.x' (image/png, 28 bytes)]"
    assert content[2] == {"type": "image_url", "image_url": {"url": URL}}
    assert content[4]["file"] == {"filename": "pdf.x", "file_data": "data:application/pdf;base64,JVBERi0="}


async def test_the_responses_api_has_other_names() -> None:
    """The same parts, as the Responses API calls them."""
    (message,) = to_input({"role": "user", "content": await content_of(said("look", IMAGE, PDF))})
    assert [part["type"] for part in message["content"]] == [
        "input_text",
        "input_text",
        "input_image",
        "input_text",
        "input_file",
    ]
    assert message["content"][2]["image_url"] == URL


async def test_text_is_text() -> None:
    """A text file is quoted line by line, in a message that every server takes; what is no UTF-8 does no harm."""
    content = await content_of(said("look", CSV))
    assert content == "look\n\n[The user has attached 'csv.x' (text/csv, 8 bytes). It says:]\n> a,b\n> \n> 1,2"
    assert "\ufffd" in await content_of(said("", attached("bad", "text/plain")))


async def test_long_text_is_bounded() -> None:
    """Text files of one message share a limit, and what is left out is said."""
    big = attached("big", "text/plain")
    content = await content_of(said("", big, big))
    assert content.count("x") < MAX_INLINED_CHARS + 100
    assert content.count(f"[… {100_000 - MAX_INLINED_CHARS // 2} characters of it are left out]") == 2


async def test_what_is_gone_is_said() -> None:
    """A file that was erased, or that the server refuses, is named and no more."""
    assert await content_of(said("a", attached("gone", "image/png"))) == (
        "a\n\n[The user has attached 'gone.x' (image/png, 0 bytes): it is gone]"
    )
    assert "refuses it]" in await content_of(said("a", IMAGE), refused=["img"])


async def test_a_request_has_a_limit() -> None:
    """Of too many files the oldest are named only."""
    huge = attached("img", "image/png", size=MAX_SENT_BYTES - 10)
    old, _, new = (await with_files([said("old", IMAGE), AssistantItem(content="x"), said("new", huge)], read, ()))[:3]
    assert "too many files" in to_messages([old], "s")[-1]["content"]
    assert isinstance(to_messages([new], "s")[-1]["content"], list)


async def test_messages_side_by_side_are_joined() -> None:
    """Text beside a message with an image becomes a part of it, in order."""
    content = await content_of(said("first"), said("", IMAGE), said("last"))
    assert [part.get("text", "")[:5] for part in content] == ["first", "[The ", "", "last"]


def test_plain_chats_pay_nothing() -> None:
    """Without files nothing is read; items are stored and compared as before, with them they differ."""
    assert not has_files([said("a"), AssistantItem(content="x")])
    assert has_files([said("a", IMAGE)])
    assert "attachments" not in said("a").model_dump_json() + Message(message_id="m", content="a").model_dump_json()
    assert said("a") != said("a", IMAGE)
    assert Message(message_id="m", content="a", attachments=(IMAGE,)).item == said("a", IMAGE)
    assert UserItem.model_validate_json(said("a", IMAGE).model_dump_json()) == said("a", IMAGE)


def test_files_take_room() -> None:
    """An image takes about a thousand tokens of the context, a text its length, up to what is shown of it."""
    bare = estimate_tokens([said("a")])
    assert estimate_tokens([said("a", IMAGE)]) - bare == 1000
    assert estimate_tokens([said("a", attached("t", "text/plain", 4000))]) - bare == 1000
    assert estimate_tokens([said("a", attached("t", "text/plain", 10**7))]) - bare == MAX_INLINED_CHARS // 4


async def test_what_was_sent_as_it_is() -> None:
    """Only files whose content is in the request can be what a server did not take."""
    items = await with_files([said("a", IMAGE, CSV), said("b", attached("gone", "image/png"))], read, ())
    assert sent_as_they_are(items) == {"img": "img.x"}


@pytest.mark.parametrize(
    ("error", "because"),
    [
        (LLMRejected("The model m does not support image input"), True),
        (LLMRejected("messages[1].content: expected a string, content array given"), True),
        (LLMRejected("The LLM server of the model 'the-vision-model' answered 401: bad key"), False),
        (ContextTooLong("too many image tokens for the context window"), False),
        (LLMUnavailable("500: image input is not supported - hint: you may need to provide the mmproj"), True),
        (LLMUnavailable("503: unsupported media type image/webp"), True),
        (LLMUnavailable("500: the image of the disk is full"), False),
        (ReplyTooLong("an image of text"), False),
    ],
)
def test_who_refuses_files(error: LLMError, because: bool) -> None:
    """What a server says tells whether it is the images that it does not take; a passing fault must say so clearly."""
    assert turned_down(error, "the-vision-model") is because


@pytest.mark.parametrize("files", [(IMAGE,), (CSV,), (IMAGE, CSV)])
async def test_the_offline_model_says_what_it_got(files: tuple[Attachment, ...]) -> None:
    """The offline model names the files that it was given, and does not recite them."""
    messages = to_messages(await with_files([said("look", *files)], read, ()), "system")
    chunks = [json.loads(chunk) for chunk in _chunks({"messages": messages, "model": "m"}, 0)]
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert text.startswith("Done: look; [The user has attached")
    assert all(file.name in text for file in files)
    assert "1,2" not in text
