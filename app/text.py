"""Text of others: what JSON, UTF-8 and protobuf can carry of it, and what a terminal may be shown.

Pure: no I/O. `clean` belongs where text enters, `printable` where it is shown as a line.
"""

import unicodedata
from typing import Any

# Category Cc is C0, DEL and C1; of Cf only what turns the direction of a line: joiners are part of emoji and scripts.
_TURNS_LINES = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SEPARATES_LINES = frozenset("\u2028\u2029")


def clean(text: str) -> str:
    """Return `text` with surrogate halves joined, and each lone one replaced by U+FFFD.

    Python keeps a `\\ud83d` of a JSON text as a character of its own, which UTF-8 cannot encode: the SDK then fails
    where it does not expect to, and the invocation hangs without an answer.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clean_data(value: Any) -> Any:
    """Return JSON data with all text in it cleaned. Tuples become lists, as JSON has no others."""
    match value:
        case str():
            return clean(value)
        case list() | tuple():
            return [clean_data(item) for item in value]
        case dict():
            return {clean(key) if isinstance(key, str) else key: clean_data(item) for key, item in value.items()}
    return value


def printable(text: str, *, keep: str = "") -> str:
    """Return `text` with its control characters as `\\x1b`, `\\n` …, but for those in `keep`: a terminal may get it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in keep or not _is_control(char) else char.encode("unicode_escape").decode()
        for char in clean(text)
    )


def shorten(text: str, limit: int) -> str:
    """Return `text` if it has at most `limit` characters, else its beginning and how long it was."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def words_of(exc: BaseException) -> str:
    """Return what an exception says, clean. One that says nothing, or fails at it, is named."""
    try:
        return clean(str(exc) or repr(exc))
    except BaseException:  # noqa: BLE001 - the words are those of others, and an exception must be recorded
        return f"{type(exc).__name__} without words"


def _is_control(char: str) -> bool:
    return unicodedata.category(char) == "Cc" or char in _TURNS_LINES or char in _SEPARATES_LINES
