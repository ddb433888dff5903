"""Server-sent events: whatever the network and the servers do to them."""

import random

import pytest

from app.llm.sse import BOM, Event, EventStream, EventTooLong

ANSWER = 'data: {"text": "Grüße 🙂"}\n\ndata: [DONE]\n\n'.encode()
EVENTS = [Event("", '{"text": "Grüße 🙂"}'), Event("", "[DONE]")]


def events(*pieces: bytes, max_bytes: int = 10_000) -> list[Event]:
    stream = EventStream(max_bytes=max_bytes)
    return [event for piece in pieces for event in stream.feed(piece)] + [*stream.close()]


def data(*pieces: bytes) -> list[str]:
    return [event.data for event in events(*pieces)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("start", [b"", BOM, b"\n\n", b": hello\n\n"])
def test_cut_at_every_byte(ending: bytes, start: bytes) -> None:
    """Events come out the same wherever the body is cut in two, or into single bytes, with each kind of line end."""
    body = (start + ANSWER).replace(b"\n", ending)
    for at in range(len(body) + 1):
        assert events(body[:at], body[at:]) == EVENTS, at
    assert events(*(body[i : i + 1] for i in range(len(body)))) == EVENTS


def test_cut_at_random() -> None:
    """Events come out the same with mixed line ends and cuts anywhere."""
    rng = random.Random(6)
    for _ in range(300):
        lines = ANSWER.split(b"\n")
        body = b"".join(line + rng.choice([b"\n", b"\r\n"]) for line in lines[:-1])
        cuts = sorted(rng.randrange(len(body)) for _ in range(4))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert events(*pieces) == EVENTS, pieces


def test_last_event_without_a_blank_line() -> None:
    """The end of the body ends the last event, with or without the end of its line."""
    assert data(b"data: 1\n\ndata: 2\n") == ["1", "2"]
    assert data(b"data: 1\n\ndata: 2") == ["1", "2"]


def test_lines_that_mean_nothing() -> None:
    """Comments, empty data, other fields and junk are passed over."""
    body = b": keep-alive\n\ndata:\n\ndata: \n\nid: 7\nretry: 10\njunk\ndata:1\n\n\n\ndata\n\n"
    assert data(body) == ["1"]


def test_data_of_several_lines_is_joined() -> None:
    """Data lines of one event are joined by a line feed."""
    assert data(b"data: {\ndata: }\n\n") == ["{\n}"]


def test_names_of_events() -> None:
    """An event has the name that stood before its data, and only that one."""
    body = b'event: error\ndata: {}\n\ndata: {"a": 1}\n\n'
    assert events(body) == [Event("error", "{}"), Event("", '{"a": 1}')]


def test_invalid_utf8() -> None:
    """Bytes that are no UTF-8 become U+FFFD."""
    assert data(b"data: a\xffb\xed\xa0\xbd\n\n") == ["a\ufffdb\ufffd\ufffd\ufffd"]


@pytest.mark.parametrize("start", [b"", BOM, b"  \n", BOM + b"\r\n "])
@pytest.mark.parametrize("body", [b'{\n "a": 1\n}', b"<html>\n\ndata: 1\n\n</html>", b"[1]"])
def test_a_document_instead_of_a_stream(start: bytes, body: bytes) -> None:
    """A body that is no stream of events comes out whole, at its end, wherever it is cut."""
    whole = start + body
    for at in range(len(whole) + 1):
        (event,) = events(whole[:at], whole[at:])
        assert (event.data.strip(), event.document) == (body.decode(), True), at


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 50] * 9, [b"data: x\n"] * 60, [b"{"] * 300, [b" "] * 300])
def test_one_event_without_end(pieces: list[bytes]) -> None:
    """An event, line or document of more than `max_bytes` is given up."""
    with pytest.raises(EventTooLong):
        events(*pieces, max_bytes=200)


def test_events_that_are_complete_do_not_count() -> None:
    """Only what is not yet complete is limited."""
    assert len(events(*[b"data: 1\n\n"] * 1000, max_bytes=50)) == 1000
    assert events(*[b": comment\n"] * 1000, max_bytes=50) == []
