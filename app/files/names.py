"""What files are called: the folder of a chat, the ids of its files, and the names that people gave them.

Pure. An id names the folder of its chat, so that nothing else is needed to find a file; it never has a part of a path.
"""

import hashlib
import re
import secrets

from app.text import printable

MAX_NAME_CHARS = 120
UNNAMED = "file"
_ID = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})", re.ASCII)
_FOLDER = re.compile(r"[0-9a-f]{32}", re.ASCII)


def folder_of(key: str) -> str:
    """Return the name of the folder of a chat: keys have slashes, dots and letters that file systems take for equal."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def new_id(key: str, seed: str | None = None) -> str:
    """Return an id for a file of a chat: one that nobody can guess, or that of a `seed`, the same each time."""
    stem = secrets.token_hex(16) if seed is None else hashlib.sha256(seed.encode()).hexdigest()[:32]
    return f"{folder_of(key)}-{stem}"


def place_of(file_id: str) -> tuple[str, str] | None:
    """Return folder and name of a file, None for what is no id."""
    match = _ID.fullmatch(file_id)
    return None if match is None else (match[1], match[2])


def is_of_chat(file_id: str, key: str) -> bool:
    """Return whether an id is that of a file of this chat."""
    place = place_of(file_id)
    return place is not None and place[0] == folder_of(key)


def is_folder(name: str) -> bool:
    """Return whether this is the name of a folder of a chat."""
    return _FOLDER.fullmatch(name) is not None


def clean_name(name: str) -> str:
    """Return the name of a file as it is shown: its last part, on one line, not too long. The ending is kept."""
    last = re.split(r"[/\\]", name)[-1]
    shown = printable(last).strip().strip(".").strip() or UNNAMED
    if len(shown) <= MAX_NAME_CHARS:
        return shown
    stem, dot, ending = shown.rpartition(".")
    ending = f"{dot}{ending}" if stem and len(ending) <= 10 else ""
    return f"{shown[: MAX_NAME_CHARS - len(ending) - 1]}…{ending}"
