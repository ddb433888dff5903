"""`app/text.py`: text that the world sends, made fit for JSON, protobuf and terminals."""

import pytest

from app.text import clean, printable, shorten


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("plain", "plain"),
        ("größer 🙂", "größer 🙂"),
        ("\ud83d\ude42", "🙂"),
        ("a \ud800 b", "a \ufffd b"),
        ("\ude42\ud83d", "\ufffd\ufffd"),
        ("\ud83d", "\ufffd"),
        ("\x00", "\x00"),
    ],
)
def test_clean_joins_halves_and_replaces_lone_ones(sent: str, kept: str) -> None:
    """Surrogate halves that belong together become a character, a lone one becomes U+FFFD, all else stays."""
    assert clean(sent) == kept
    clean(sent).encode()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain größer 🙂", "plain größer 🙂"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("one\ntwo\r", "one\\ntwo\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("evil\u202etxt", "evil\\u202etxt"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("\ud800", "\ufffd"),
    ],
)
def test_printable_leaves_nothing_that_drives_a_terminal(said: str, shown: str) -> None:
    """Escape sequences, line ends and turns of direction are shown, not obeyed; emoji and scripts stay whole."""
    assert printable(said) == shown


def test_printable_keeps_what_it_is_told_to() -> None:
    """A traceback keeps its lines."""
    assert printable("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"


def test_shorten_says_how_long_it_was() -> None:
    """What is cut off is not lost without a word."""
    assert shorten("abc", 3) == "abc"
    assert shorten("abcdef", 3) == "abc… (6 characters)"
