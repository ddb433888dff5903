"""Who makes a request, and which chats are theirs.

Reads what the guard has found out. Checks no token.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import HTTPConnection

from app.boundary import MAX_KEY_CHARS
from app.text import printable
from app.web.refusals import Refused, not_allowed

DEFAULT_CHAT = "ellie"  # of who has no name, as in the README
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

How = Literal["none", "token", "jwt"]


@dataclass(frozen=True)
class Caller:
    """Who makes a request. `user` is None where nobody has to sign in. An `operator` may see background agents."""

    user: str | None
    how: How
    address: str
    operator: bool

    @property
    def name(self) -> str:
        """What limits are counted by."""
        return f"address {self.address}" if self.user is None else f"user {self.user}"

    @property
    def default_chat(self) -> str:
        return DEFAULT_CHAT if self.user is None else quote(self.user, safe="")

    def owns(self, key: str) -> bool:
        """Return whether a chat is this caller's: `alice` or `alice:…`. A colon in a name is `%3A` there."""
        return self.user is None or key == self.default_chat or key.startswith(f"{self.default_chat}:")


def caller_of(connection: HTTPConnection) -> Caller:
    """Return who makes this request."""
    caller: Caller = connection.scope["state"]["caller"]
    return caller


def require_operator(connection: HTTPConnection) -> Caller:
    """Return the caller, who may see background agents. Errors: Refused (403)."""
    caller = caller_of(connection)
    if not caller.operator:
        raise not_allowed()
    return caller


def chat_of(connection: HTTPConnection, parameter: str = "key") -> str:
    """Return the key of the chat that the path names. Errors: as `require_chat`; Refused (400) for a bad escape."""
    return require_chat(connection, segment(connection, parameter))


def require_chat(connection: HTTPConnection, key: str) -> str:
    """Return `key`, which is a chat of the caller's. Errors: Refused: 403 for another's, 400 for what is no key."""
    if not caller_of(connection).owns(key):
        raise not_allowed()
    if not key:
        raise Refused(400, "The key of the chat is empty: name one")
    if len(key) > MAX_KEY_CHARS:
        raise Refused(400, f"The key has {len(key)} characters, the limit is {MAX_KEY_CHARS}: use a shorter one")
    if printable(key) != key:
        raise Refused(400, f"The key {key!r} has control characters: use one without")
    return key


def segment(connection: HTTPConnection, parameter: str) -> str:
    """Return a part of the path, decoded once. Routes match paths as they were sent: a slash in a key is `%2F`."""
    raw: str = connection.path_params[parameter]
    try:
        if _BROKEN_ESCAPE.search(raw):
            raise ValueError(raw)
        return unquote_to_bytes(raw).decode()
    except ValueError:
        raise Refused(400, "The path is not percent-encoded UTF-8: write % as %25") from None
