"""Which invocations belong to a forgotten chat."""

from app.engine.admin import quoted
from app.engine.erasure import ERASER, Row, of_forgotten_chat


def row(name: str, second: int, *, by: str | None = None, handler: str = "run") -> Row:
    return Row(
        id=name,
        target_handler_name=handler,
        status="completed",
        created_at=f"2026-11-21T10:00:{second:02}.000Z",
        invoked_by_id=by,
    )


def test_all_before_and_what_came_from_them() -> None:
    """What came before `forget`, `forget` itself, and what they have caused later belong to the forgotten chat."""
    rows = [
        row("late report", 9, by="run"),
        row("message", 1),
        row("run", 2, by="message"),
        row("forget", 5),
        row("report of a report", 10, by="late report"),
    ]
    found = [each.id for each in of_forgotten_chat(rows, "forget")]
    assert found == ["message", "run", "forget", "late report", "report of a report"]


def test_what_came_since_stays() -> None:
    """What was said to the key since then stays, with its runs; so does what erases."""
    rows = [
        row("forget", 5),
        row("new message", 6),
        row("new run", 7, by="new message"),
        row("eraser", 6, by="forget", handler=ERASER),
        row("older eraser", 1, handler=ERASER),
    ]
    assert [each.id for each in of_forgotten_chat(rows, "forget")] == ["forget"]


def test_forget_that_is_kept_no_more() -> None:
    """If Restate keeps nothing of `forget` itself, nothing is guessed."""
    assert of_forgotten_chat([row("message", 1)], "forget") == []


def test_keys_are_quoted() -> None:
    """A key is a literal of SQL, whatever is in it."""
    assert quoted("o'neil") == "'o''neil'"
    assert quoted("x' OR '1'='1") == "'x'' OR ''1''=''1'"
