"""How log lines look: a time, the level, the logger, and text that no terminal obeys.

Logs nothing but what Python itself would write to stderr: warnings and uncaught exceptions. What else is logged is
decided by who logs it.
"""

import logging
import sys
import threading
from types import TracebackType

from app.text import printable, shorten

MAX_LINE_CHARS = 1500  # less than a screen of 80 times 24; histories and events of megabytes get here
_MAX_TRACEBACK_LINES = 60  # the first and the last ones: a chain of exceptions has no end of its own

# They would write a line for every request.
_CHATTY = ("httpx", "httpx2", "httpcore", "httpcore2", "hpack")

logger = logging.getLogger("main")


class LineFormatter(logging.Formatter):
    """Formats a record as one line, and a traceback below it: nothing in it drives a terminal or fakes a line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s:%(name)s:%(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the standard library
        record.message = _line(record.message.rstrip())
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - the name of the standard library
        return _lines(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the name of the standard library
        return _lines(super().formatStack(stack_info))


class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr. A record that cannot be formatted leaves a line that says so, not its raw text."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of the standard library
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            return  # nobody reads stderr any more
        fault = f"A log line of {record.name} ({record.pathname}:{record.lineno}) cannot be written: {error!r}"
        self.stream.write(_line(fault) + self.terminator)


def set_up_logging(level: str) -> None:
    """Write records of `level` and above to stderr. Calling it again changes only the level."""
    root = logging.getLogger()
    root.setLevel(level)
    if not any(isinstance(handler, LineHandler) for handler in root.handlers):
        root.addHandler(LineHandler())
    logging.captureWarnings(capture=True)
    _set_hooks()
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns at each start that the SDK's application has no lifespan.
    logging.getLogger("hypercorn.error").setLevel(logging.ERROR)


def _set_hooks() -> None:
    """Log what Python would print, where nobody else (an error tracker) does something of their own with it."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _log_uncaught
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_uncaught_of_thread


def _line(text: str) -> str:
    return printable(shorten(text, MAX_LINE_CHARS))


def _lines(text: str) -> str:
    # Indented: what begins a line is a record, although the text of an exception may hold any.
    lines = ["  " + printable(shorten(line, MAX_LINE_CHARS), keep="\t") for line in text.split("\n")]
    if (left_out := len(lines) - _MAX_TRACEBACK_LINES) > 0:
        half = _MAX_TRACEBACK_LINES // 2
        lines[half:-half] = [f"  … ({left_out} lines)"]
    return "\n".join(lines)


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return  # asked for
    logger.critical("It ended by a bug", exc_info=(kind, error, traceback))


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    error = unraisable.exc_value
    logger.error("%s: %r", unraisable.err_msg or "Exception ignored in", unraisable.object, exc_info=error)


def _log_uncaught_of_thread(uncaught: threading.ExceptHookArgs) -> None:
    name = uncaught.thread.name if uncaught.thread else "a thread"
    logger.error("Bug in %s", name, exc_info=uncaught.exc_value)
