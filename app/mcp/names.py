"""The names by which the LLM calls the tools of MCP servers: `server__tool`.

Pure. A name follows from server and tool alone: it stays what it is when a server's list changes.
"""

import hashlib
import re

BETWEEN = "__"
MAX_NAME_CHARS = 64  # what LLM servers take
MAX_SERVER_CHARS = 24
_DIGEST_CHARS = 6

SERVER_NAME = re.compile(rf"(?=.{{1,{MAX_SERVER_CHARS}}}$)[A-Za-z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*")
_CALLED = re.compile(rf"([A-Za-z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*){BETWEEN}[A-Za-z0-9_-]+")


def name_of(server: str, tool: str) -> str:
    """Return the name of a tool of `server`, which SERVER_NAME fits.

    A tool whose own name is too long, or has characters that LLM servers refuse, gets a digest at its end: no two
    tools of a server share a name.
    """
    room = MAX_NAME_CHARS - len(server) - len(BETWEEN)
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", tool)
    if plain == tool and 0 < len(tool) <= room:
        return f"{server}{BETWEEN}{tool}"
    digest = hashlib.sha256(tool.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{server}{BETWEEN}{plain[: room - _DIGEST_CHARS - 1]}_{digest}"


def server_of(name: str) -> str | None:
    """Return the server whose tool `name` can be, None if it is no name of such a tool."""
    match = _CALLED.fullmatch(name)
    return match.group(1) if match is not None and len(name) <= MAX_NAME_CHARS else None


def may_be_digest(tool: str) -> bool:
    """Return whether a name behind the server's can be one that was made of another."""
    return re.search(rf"_[0-9a-f]{{{_DIGEST_CHARS}}}$", tool) is not None
