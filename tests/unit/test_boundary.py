"""The boundary: what a handler answers to bad input, to our errors and to bugs."""

import json
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from restate import ObjectContext, TerminalError, VirtualObject
from restate.exceptions import RetryableError, SuspendedException
from restate.server_context import DisconnectedException

from app.boundary import MAX_KEY_CHARS, handler
from app.errors import AdminUnavailable, AgentError, Conflict, TooLarge, TooManyPending, UsageError
from app.turns.protocol import ModeRequest, UserMessage
from app.turns.reading.protocol import HistoryRequest
from app.turns.waiting.protocol import EditRequest

Handle = Callable[..., Awaitable[Any]]


def registered(handle: Handle, *, private: bool = False) -> Any:
    """Register `handle` on a service of its own; return what the SDK knows of it."""
    service = VirtualObject("Test")
    handler(service, private=private)(handle)
    return next(iter(service.handlers.values()))


async def call(handle: Handle, body: bytes = b"", *, key: str = "ellie", private: bool = False) -> Any:
    """Call a handler as the SDK does: input through its serde, then the handler."""
    known = registered(handle, private=private)
    ctx = cast(ObjectContext, SimpleNamespace(key=lambda: key))
    if known.arity == 1:
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


async def status(_ctx: ObjectContext) -> str:
    return "idle"


async def refused(handle: Handle, body: bytes = b"", *, status: int = 400, key: str = "ellie") -> str:
    """Return the sentence with which bad input is refused."""
    with pytest.raises(TerminalError) as raised:
        await call(handle, body, key=key)
    assert raised.value.status_code == status
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
        "got 'SHOUT'. Send for example " + '{"content": "do something", "role": "user"}'
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


DEEP = b'{"content": ' + b"[" * 100_000
HUGE_NUMBER = b'{"content": ' + b"9" * 100_000 + b"}"


@pytest.mark.parametrize(
    "body", [b"hello", b"{", b"\xff", b'{"content": "\\ud800"}', b'{"\\ud800": 1}', DEEP, HUGE_NUMBER]
)
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


async def test_what_is_wrong_is_quoted_in_part() -> None:
    """Neither a long name nor a long or nested value is written out in the sentence, and none drives a terminal."""
    long_name = b'{"content": "x", "%s": 1}' % (b"y" * 5000)
    nested = b'{"content": ' + b"[" * 150 + b"]" * 150 + b"}"
    long_list = b'{"content": %s}' % json.dumps(list(range(100_000))).encode()
    for body in (long_name, nested, long_list):
        assert len(await refused(take, body)) < 400

    assert "\\x1b[2J: Extra inputs are not permitted, got '\\x1b[0m'" in await refused(
        take, b'{"content": "x", "\\u001b[2J": "\\u001b[0m"}'
    )


async def test_many_problems_are_counted() -> None:
    """Of 10,000 problems the sentence names ten and says how many more there are."""
    sentence = await refused(take, json.dumps({"content": "x"} | {f"f{n}": n for n in range(10_000)}).encode())

    assert sentence.count("Extra inputs") == 10
    assert "; and 9990 more. Send for example" in sentence


async def test_body_of_megabytes_is_refused_unread() -> None:
    """A body that no message of the longest length needs is 413; one between services may be of any size."""
    body = b'{"content": "%s"}' % (b"x" * 30_000_000)

    assert await refused(take, body, status=413) == (
        "The body has 30000015 bytes, the limit is 4194304: send less at a time"
    )
    assert len(await call(take, body, private=True)) == 30_000_000


async def test_last_of_two_values_counts() -> None:
    """A field that comes twice has its last value, as in other readers of JSON."""
    assert await call(take, b'{"content": "first", "content": "last\\u0000"}') == "last\0"


@pytest.mark.parametrize("body", [b"", b"null", b" null ", b"{}", b" { } "])
async def test_handler_without_input_takes_nothing(body: bytes) -> None:
    """A handler without input takes an empty body, null and an empty object."""
    assert await call(status, body) == "idle"


@pytest.mark.parametrize("body", [b'{"a": 1}', b"[]", b"0", b'""', b"hello"])
async def test_handler_without_input_refuses_others(body: bytes) -> None:
    """A handler without input says so to any other body."""
    assert (await refused(status, body)).startswith("Bad input. ")


@pytest.mark.parametrize("key", ["ellie", "a/b/../c", "Grüße 👨‍👩‍👧", "..", " ", "x" * MAX_KEY_CHARS])
async def test_key_may_be_any_text(key: str) -> None:
    """Any printable text is a key."""
    assert await call(status, key=key) == "idle"


@pytest.mark.parametrize("key", ["a\nINFO:chat:forged", "\x1b[2J", "\0", "\x9b", "\u202eevil", "a\u2028b"])
async def test_key_with_control_characters_is_refused(key: str) -> None:
    """A key that could fake a log line or drive a terminal is refused, before anything is done, and shown escaped."""
    sentence = await refused(status, key=key)

    assert sentence == f"The key {key!r} has control characters: use one without"
    assert sentence.isprintable()
    assert await call(status, key=key, private=True) == "idle"


async def test_long_key_is_refused() -> None:
    """A key of 10 kB is refused without repeating it."""
    assert (
        await refused(status, key="k" * 10_000) == "The key has 10000 characters, the limit is 256: use a shorter one"
    )


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


async def test_unavailable_neighbour_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    """An error of ours with a status of its own has that status, and leaves one line without a traceback."""

    async def handle(_ctx: ObjectContext) -> None:
        raise AdminUnavailable("it does not answer")

    with pytest.raises(TerminalError) as raised:
        await call(handle)
    assert (raised.value.status_code, raised.value.message) == (503, "it does not answer")
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("Test.handle of ellie: it does not answer", None)
    ]


@pytest.mark.parametrize("error", [Conflict("bad \ud800 text"), TerminalError("bad \ud800 text"), KeyError("\ud800")])
async def test_error_is_text_that_can_be_sent(error: Exception) -> None:
    """A lone surrogate in the text of an error is replaced; the engine's protocol cannot carry it."""

    async def handle(_ctx: ObjectContext) -> None:
        raise error

    with pytest.raises(TerminalError) as raised:
        await call(handle)
    raised.value.message.encode()


async def test_long_error_is_cut() -> None:
    """The text of an error becomes part of journals, so it has an end."""

    async def handle(_ctx: ObjectContext) -> None:
        raise ValueError("x" * 1_000_000)

    with pytest.raises(TerminalError) as raised:
        await call(handle)
    assert len(raised.value.message) < 5000


@pytest.mark.parametrize("error", [TerminalError("over", 404), RetryableError("again"), DisconnectedException()])
async def test_engine_errors_pass(error: Exception) -> None:
    """What the engine raises passes untouched."""

    async def handle(_ctx: ObjectContext) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await call(handle)
    assert raised.value is error


def wrapped(end: BaseException) -> Exception:
    """Return `end` as the cause of another exception, as a `raise … from` of somebody else's leaves it."""
    error = RuntimeError("it broke")
    error.__cause__ = end
    return error


@pytest.mark.parametrize("end", [DisconnectedException(), SuspendedException()])
async def test_end_of_an_attempt_is_no_bug(end: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """What ends an attempt is found inside of what has wrapped it, and is not logged."""

    def raising(error: BaseException) -> Handle:
        async def handle(_ctx: ObjectContext) -> None:
            raise error

        return handle

    for error in (wrapped(end), BaseExceptionGroup("two", [ValueError("other"), end]), wrapped(wrapped(end))):
        with pytest.raises(type(end)) as raised:
            await call(raising(error))
        assert raised.value is end
        assert end.__cause__ is None
    assert caplog.records == []


def test_docstring_is_the_description() -> None:
    """The docstring of a handler is its description in the discovery, and its input model the schema."""
    known = registered(take)

    assert known.description == "Take a message."
    assert known.name == "take"
