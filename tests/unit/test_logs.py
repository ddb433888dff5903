"""`app/hosting/logs.py`: what a log line may look like."""

import logging
import re
import sys

from app.hosting.logs import MAX_LINE_CHARS, LineFormatter


def line(message: str, *args: object, failed: bool = False) -> str:
    exc_info = sys.exc_info() if failed else None
    return LineFormatter().format(logging.LogRecord("chat", logging.INFO, __file__, 1, message, args, exc_info))


def test_a_line_has_time_level_and_logger() -> None:
    """The words of the source document follow a time."""
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO:chat:Starting new agent run", line("Starting new agent run")
    )


def test_a_line_is_one_line_that_no_terminal_obeys() -> None:
    """A key or a model's output can neither fake a line nor move the cursor."""
    assert line("Chat %s", "a\nINFO:chat:forged\x1b[2J").endswith("INFO:chat:Chat a\\nINFO:chat:forged\\x1b[2J")


def test_a_line_is_shorter_than_a_screen() -> None:
    """An event of megabytes leaves a line."""
    assert len(line("%s", "x" * 1_000_000)) < MAX_LINE_CHARS + 100


def test_a_traceback_keeps_its_lines_but_drives_nothing() -> None:
    """An exception of a stranger's may hold anything."""
    try:
        raise ValueError("bad \x1b[31m thing")
    except ValueError:
        written = line("It failed", failed=True)
    assert "\n  Traceback" in written
    assert "ValueError: bad \\x1b[31m thing" in written


def test_a_traceback_has_an_end() -> None:
    """An exception with a text of megabytes, or a chain without an end, leaves a page."""
    try:
        raise ValueError("x" * 1_000_000 + "\n" * 1_000_000)
    except ValueError:
        written = line("It failed", failed=True)
    assert len(written) < 10_000
    assert "lines)" in written
