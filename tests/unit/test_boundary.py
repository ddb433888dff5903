"""The boundary: what a handler answers to bad input, to our errors and to bugs."""

import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from restate import ObjectContext, TerminalError, VirtualObject
from restate.exceptions import RetryableError
from restate.server_context import DisconnectedException

from app.boundary import handler
from app.errors import AgentError, Conflict, TooLarge, TooManyPending, UsageError
from app.protocol import EditRequest, HistoryRequest, ModeRequest, UserMessage

Handle = Callable[..., Awaitable[Any]]


def registered(handle: Handle) -> Any:
    """Register `handle` on a service of its own; return what the SDK knows of it."""
    service = VirtualObject("Test")
    handler(service)(handle)
    return next(iter(service.handlers.values()))


async def call(handle: Handle, body: bytes | None = None) -> Any:
    """Call a handler as the SDK does: input through its serde, then the handler."""
    known = registered(handle)
    ctx = cast(ObjectContext, SimpleNamespace(key=lambda: "ellie"))
    if body is None:
        return await known.fn(ctx)
    return await known.fn(ctx, known.handler_io.input_serde.deserialize(body))


async def take(_ctx: ObjectContext, message: UserMessage) -> str:
    """Take a message."""
    return message.content


async def edit(_ctx: ObjectContext, request: EditRequest) -> str:
    return request.content


async def page(_ctx: ObjectContext, request: HistoryRequest) -> int:
    return request.limit


async def set_mode(_ctx: ObjectContext, request: ModeRequest) -> str:
    return str(request.mode)


async def refused(handle: Handle, body: bytes) -> str:
    """Return the sentence with which bad input is refused."""
    with pytest.raises(TerminalError) as raised:
        await call(handle, body)
    assert raised.value.status_code == 400
    return raised.value.message


async def test_good_input_arrives() -> None:
    """Input that fits reaches the handler as its model."""
    assert await call(take, b'{"role": "user", "content": " do it "}') == "do it"


@pytest.mark.parametrize("body", [b"", b"null", b" null ", b"{}"])
async def test_no_input_is_all_defaults(body: bytes) -> None:
    """An empty body, null and an empty object are the input with all its defaults."""
    assert await call(page, body) == 50


async def test_sentence_names_field_value_and_cure() -> None:
    """The sentence names the field, the value that was sent, and an example of what to send."""
    sentence = await refused(take, b'{"content": "x", "mode": "SHOUT"}')

    assert sentence == (
        "Bad input. mode: Input should be 'INTERRUPT', 'ROLLBACK', 'INCORPORATE', 'STEER', 'QUEUE' or 'REJECT', "
        "got 'SHOUT'. Send for example {'content': 'do something', 'role': 'user'}"
    )


async def test_sentence_names_every_fault() -> None:
    """When several things are wrong the sentence names all of them."""
    sentence = await refused(take, b'{"role": "robot", "contents": "x"}')

    for words in ("role: Input should be 'user', got 'robot'", "content: Field required", "contents: Extra inputs"):
        assert words in sentence


async def test_missing_field_shows_no_value() -> None:
    """A field that is missing has no value to show."""
    sentence = await refused(edit, b'{"message_id": "m"}')

    assert sentence.startswith("Bad input. content: Field required. Send for example ")


@pytest.mark.parametrize("body", [b"hello", b"{", b"\xff", b'{"content": "\\ud800"}'])
async def test_what_is_not_json_is_said_so(body: bytes) -> None:
    """A body that is not JSON is refused as such, without repeating it."""
    sentence = await refused(take, body)

    assert sentence.startswith("Bad input. the body: Invalid JSON")
    assert "got" not in sentence


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7"])
async def test_what_is_not_an_object_is_said_so(body: bytes) -> None:
    """JSON that is not an object is refused with an example of one."""
    sentence = await refused(take, body)

    assert sentence.startswith("Bad input. the body: Input should be an object")
    assert "Send for example" in sentence


async def test_long_value_is_cut() -> None:
    """A long wrong value is quoted in part."""
    assert len(await refused(take, b'{"content": "x", "mode": "%s"}' % (b"y" * 5000))) < 400


async def test_null_mode_is_a_mode_request() -> None:
    """null is a value of `mode` in set_mode, a missing field is not."""
    assert await call(set_mode, b'{"mode": null}') == "None"
    assert "mode: Field required" in await refused(set_mode, b"{}")


@pytest.mark.parametrize(
    ("error", "status"), [(UsageError, 400), (Conflict, 409), (TooLarge, 413), (TooManyPending, 429)]
)
async def test_usage_error_has_its_status(error: type[UsageError], status: int) -> None:
    """An error of the caller becomes a terminal error with its status and its sentence."""

    async def handle(_ctx: ObjectContext) -> None:
        raise error("do it like this")

    with pytest.raises(TerminalError) as raised:
        await call(handle)
    assert (raised.value.status_code, raised.value.message) == (status, "do it like this")


@pytest.mark.parametrize("bug", [ZeroDivisionError("division"), AgentError("odd"), KeyError("k")])
async def test_bug_ends_the_handler(bug: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Any other exception is a bug: logged with its traceback, and terminal, as a retry would hold the chat's key."""

    async def handle(_ctx: ObjectContext) -> None:
        raise bug

    with caplog.at_level(logging.ERROR), pytest.raises(TerminalError) as raised:
        await call(handle)
    assert (raised.value.status_code, raised.value.message) == (500, f"Internal error in Test.handle: {bug!r}")
    assert "Bug in Test.handle of" in caplog.text


@pytest.mark.parametrize("error", [TerminalError("over", 404), RetryableError("again"), DisconnectedException()])
async def test_engine_errors_pass(error: Exception) -> None:
    """What the engine raises passes untouched."""

    async def handle(_ctx: ObjectContext) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await call(handle)
    assert raised.value is error


def test_docstring_is_the_description() -> None:
    """The docstring of a handler is its description in the discovery, and its input model the schema."""
    known = registered(take)

    assert known.description == "Take a message."
    assert known.name == "take"
