"""`app/web/waiting.py`: which lines of a chat are the reply to a message."""

from typing import Any

import pytest

from app.web.waiting import reply_in


def line(role: str, content: str, turn_id: int = 1, status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "turn_id": turn_id, "status": status} | fields


def test_the_reply_is_what_the_turn_said_after_the_message() -> None:
    """Lines of other turns, earlier lines, and other messages of the user are left out."""
    entries = [
        line("assistant", "old", 1),
        line("user", "hello", 2, message_id="m"),
        line("assistant", "call", 2),
        line("user", "more", 2, message_id="n"),
        line("tool", "done", 2),
        line("assistant", "answer", 2),
        line("summary", "of all that", 2),
        line("user", "next", 3, message_id="o"),
    ]
    assert [entry["content"] for entry in reply_in(entries, "m") or []] == ["call", "done", "answer"]
    assert [entry["content"] for entry in reply_in(entries, "n") or []] == ["done", "answer"]
    assert reply_in(entries, "o") == []


@pytest.mark.parametrize("status", ["queued", "running"])
def test_there_is_none_while_the_turn_is_open(status: str) -> None:
    """A turn that runs, or in which the message waits, has not replied yet."""
    assert reply_in([line("user", "x", 1, status, message_id="m"), line("assistant", "y", 1, status)], "m") is None
    waiting = [line("user", "a", 1, "running", message_id="a"), line("user", "x", 1, "queued", message_id="m")]
    assert reply_in(waiting, "m") is None


def test_a_message_that_is_held_waits() -> None:
    """A message that is held after a stop has no reply, although no turn is open."""
    assert reply_in([line("user", "x", 1, "queued", message_id="m", held=True)], "m") is None


def test_a_message_that_is_gone_has_an_empty_reply() -> None:
    """A message that was withdrawn is in no turn, and nobody waits for it for ever."""
    assert reply_in([line("user", "x", message_id="other")], "m") == []
