"""How the offline model sums up a chat: what the user has asked for, and which tools have answered.

Pure: it reads the request alone.
"""

import json
from collections.abc import Iterator

NEWEST = 20  # requests that the notes have, each shortened
SHOWN_CHARS = 80


def notes_of(request: str) -> str:
    """Return notes of the JSON lines in a request for a summary, after the notes that it brings."""
    so_far = [line for line in _json_lines(request) if isinstance(line, str)]
    said = [line for line in _json_lines(request) if isinstance(line, dict)]
    asked = [f"- {_short(line['text'])}" for line in said if line.get("role") == "user"]
    known = [line for notes in so_far for line in notes.splitlines() if line.startswith("- ")]
    tools = sorted({str(line["name"]) for line in said if line.get("role") == "tool"})
    used = [f"Tools that were used since: {', '.join(tools)}."] if tools else []
    return "\n".join(["The user asked for:", *[*known, *asked][-NEWEST:], *used])


def _json_lines(request: str) -> Iterator[object]:
    for line in request.split("\n"):
        if line[:1] in ("{", '"'):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _short(text: object) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= SHOWN_CHARS else f"{words[:SHOWN_CHARS]}…"
