"""Whether a request was made for us, and by a page of ours: the checks of Host, Origin and Sec-Fetch-Site.

Without them any page on the web could, in the browser of somebody who runs this, call what listens on loopback.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from app.web.refusals import Refused

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_OURS = ("same-origin", "none")  # none: a person who typed the address


class Hosts:
    """The names by which the gateway may be called, each with any port."""

    def __init__(self, own: str, allowed: Iterable[str]) -> None:
        named = (own,) if own not in _ANY_ADDRESS else ()
        self._names = frozenset(_without_port(name.strip().lower()) for name in (*LOOPBACK, *named, *allowed))

    def require_known(self, connection: HTTPConnection) -> None:
        """Check that a request names us as its host, once. Errors: Refused (421).

        A name that somebody else makes point here is that of their page, whose scripts may read our answers.
        """
        hosts = connection.headers.getlist("host")
        found = _AUTHORITY.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if found is None or found[1] not in self._names:
            raise Refused(421, "This name is not known here. Add it to WEB_ALLOWED_HOSTS if it should be.")


def require_same_origin(connection: HTTPConnection, *, is_page: bool) -> None:
    """Check that a request of a browser comes from a page of ours. Errors: Refused (403).

    Other clients send neither header. `is_page`: a link on another site may lead to it.
    """
    origins = connection.headers.getlist("origin")
    sites = connection.headers.getlist("sec-fetch-site")
    modes = connection.headers.getlist("sec-fetch-mode")
    if len(origins) > 1 or len(sites) > 1 or any(not _is_host(origin, connection) for origin in origins):
        raise _foreign()
    follows_link = is_page and modes == ["navigate"] and connection.scope.get("method") == "GET"
    if sites and sites[0] not in _OURS and not follows_link:
        raise _foreign()


def _is_host(origin: str, connection: HTTPConnection) -> bool:
    """Return whether an origin is the host that the request was sent to. What ends TLS before us may change schemes."""
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    if parts.scheme not in _DEFAULT_PORTS or parts.path or parts.query or parts.fragment:
        return False
    return _with_port(parts.netloc, parts.scheme) == _with_port(connection.headers["host"].lower(), parts.scheme)


def _with_port(authority: str, scheme: str) -> tuple[str, str] | None:
    found = _AUTHORITY.fullmatch(authority)
    return None if found is None else (found[1], found[2] or _DEFAULT_PORTS[scheme])


def _without_port(name: str) -> str:
    """Return a name of a setting as it stands in a Host header, any port left out."""
    found = _AUTHORITY.fullmatch(name)
    return found[1] if found else f"[{name}]"


def _foreign() -> Refused:
    return Refused(403, "This was sent by a page of another site.")
