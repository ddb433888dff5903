"""Which attempts of the SDK tell that a journal does not fit."""

import asyncio
import logging
import struct

import pytest
from restate.vm import VMException  # type: ignore[attr-defined]  # not re-exported, and its own module has no types

from app.engine.journal_watch import JournalWatch, Unfit, mismatch_in

# What restate-sdk 1.3.0 answered in four measured cases.
RUN = b"\x04\x11\x00\x00\x00\x00\x00\tX\x01b\x05first"
TEXT = (
    b"Found a mismatch between the code paths taken during the previous execution and the paths taken during this "
    b"execution.\nThis typically happens when some parts of the code are non-deterministic.\n"
    b"- The mismatch happened while executing 'run' (index '1')\n- Difference:\n   name: first != other"
)
MISMATCH = b"\x00\x02\x00\x00\x00\x00\x012\x08\xba\x04\x12\xa0\x02" + TEXT + b" \x01*\x05other0\x91\x08"
FAILURE = b"\x00\x02\x00\x00\x00\x00\x00\x18\x08\xf4\x03\x12\x13ValueError('again')"
DETAIL = "The mismatch happened while executing 'run' (index '1') Difference: name: first != other"


def test_mismatch_is_seen() -> None:
    """The error of a mismatch is found, alone or behind other messages, with where the two differ."""
    assert mismatch_in(MISMATCH) == DETAIL
    assert mismatch_in(RUN + MISMATCH) == DETAIL


@pytest.mark.parametrize(
    "messages",
    [b"", RUN, FAILURE, RUN[:5], MISMATCH[:7], RUN + MISMATCH[8:], b"\x04\x11\x00\x00\x00\x00\x01\x00" + MISMATCH],
    ids=["nothing", "a-run", "a-failure", "half-a-header", "cut", "no-header", "inside-of-another"],
)
def test_nothing_else_is(messages: bytes) -> None:
    """Other messages, failures of other kinds, and the bytes of a mismatch inside of another message are none."""
    assert mismatch_in(messages) is None


@pytest.mark.parametrize("fields", [b"", b"\x12", b"\x12\xff\xff\xff\xff\xff\xff", b"\x18\x01"])
def test_mismatch_without_a_text(fields: bytes) -> None:
    """A mismatch is one also if its text cannot be found."""
    body = b"\x08\xba\x04" + fields
    assert mismatch_in(struct.pack(">HHI", 2, 0, len(body)) + body) == ""


async def told(path: str, body: bytes, headers: list[tuple[bytes, bytes]]) -> list[Unfit]:
    """Return what the watch tells of a request that is answered with `body`; the answer must go out as it is."""
    seen: list[Unfit] = []
    sent: list[bytes] = []

    async def app(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body, "more_body": False})  # type: ignore[operator]

    async def note(unfit: Unfit) -> None:
        seen.append(unfit)

    async def send(event: dict[str, object]) -> None:
        sent.append(event.get("body", b""))  # type: ignore[arg-type]

    watch = JournalWatch(app, ["AgentSession"], note)
    scope = {"type": "http", "path": path, "headers": headers}
    await watch(scope, None, send)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert b"".join(sent) == body
    return seen


HEADERS = [(b"x-restate-invocation-id", b"inv_1"), (b"x-restate-service-key", b"ellie")]


async def test_watched_service_is_told() -> None:
    """A mismatch of a watched service is told with its invocation and key, under any mount point."""
    expected = [Unfit("inv_1", "AgentSession", "ellie", DETAIL)]
    assert await told("/invoke/AgentSession/run", MISMATCH, HEADERS) == expected
    assert await told("/mounted/here/invoke/AgentSession/run", MISMATCH, HEADERS) == expected


async def test_key_is_unquoted() -> None:
    """Restate quotes the key in its header as in a URL."""
    headers = [HEADERS[0], (b"x-restate-service-key", b"j%C3%B6rg%20%E6%97%A5/%2525")]
    assert (await told("/invoke/AgentSession/run", MISMATCH, headers))[0].key == "jörg 日/%25"


@pytest.mark.parametrize("path", ["/invoke/Other/run", "/discover", "/AgentSession/run", ""])
async def test_other_services_are_not(path: str) -> None:
    """Mismatches of other services, and answers to other requests, are nobody's business here."""
    assert await told(path, MISMATCH, HEADERS) == []


async def test_unnamed_invocation_is_not_guessed() -> None:
    """Without the id of the invocation nothing is told."""
    assert await told("/invoke/AgentSession/run", MISMATCH, []) == []


async def test_sdk_logs_no_traceback_of_a_mismatch(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's tracebacks of mismatches are left out of the log, those of bugs are not."""
    await told("/discover", b"", [])
    for error in (VMException("(570) Found a mismatch"), VMException("(500) else"), ValueError("bug")):
        logging.getLogger("restate.server").error("Exception in Restate handler", exc_info=error)

    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["(500) else", "bug"]
