"""What every request passes before any route hears of it, WebSockets too: Host, origin, who it is, rate, size, time.

Knows no routes but the public ones, and those whose body is a file: it goes on as it arrives.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import Settings
from app.web.auth import Authenticator
from app.web.caller import Caller
from app.web.files import is_public
from app.web.limits import Rate
from app.web.origin import Hosts, require_same_origin
from app.web.refusals import Refused, answer_of, not_signed_in, on_bug
from app.web.uploads.routes import is_upload

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
HEADERS = (
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_METHODS = frozenset({"GET", "HEAD", "POST"})
_LINGER_S = 1.0
_REFUSED = 1008  # a WebSocket; who is refused before it is opened sees 403
_FAILURES_PER_S, _FAILURES_AT_ONCE = 1, 30  # wrong tokens of one address

logger = logging.getLogger("gateway")


class Guard:
    """The application `app`, for those who may use it."""

    def __init__(self, app: ASGIApp, settings: Settings, authenticator: Authenticator | None) -> None:
        self._app = app
        self._settings = settings
        self._authenticator = authenticator
        self._hosts = Hosts(settings.web_host, settings.web_allowed_hosts or ())
        self._operators = frozenset(settings.web_operators or ())
        self._rate = Rate(settings.web_rate, settings.web_burst)
        self._failures = Rate(_FAILURES_PER_S, _FAILURES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answering = _Answering(scope, send, self._settings.web_send_timeout_s)
        try:
            body = await self._admit(scope, receive)
            await self._app(scope, replayed(body, receive), answering.send)
        except Refused as refused:
            if refused.status == 413:
                await _let_it_finish(receive, self._settings.web_max_body_bytes)
            await answering.refuse(scope, receive, refused)
        except Exception as error:
            if answering.cut:
                logger.info("A client did not read what it asked for, and was cut off")
                return  # before the end of the answer: the server breaks the connection
            logger.exception("Bug in the gateway")
            await answering.bug(scope, receive, error)

    async def _admit(self, scope: Scope, receive: Receive) -> bytes | None:
        """Let a request in, and return its body if it may have one. Errors: Refused."""
        _route_by_what_was_sent(scope)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._settings.web_max_header_bytes:
            raise Refused(431, "The headers are too large.", {"connection": "close"})
        connection = HTTPConnection(scope)
        self._hosts.require_known(connection)
        public = is_public(scope["path"])
        require_same_origin(connection, is_page=public)
        method = scope.get("method", "GET")
        if method not in _METHODS:
            raise Refused(405, "This cannot be done here: another method is needed.", {"allow": "GET, HEAD, POST"})
        if not public:
            caller = await self._caller(connection)
            scope.setdefault("state", {})["caller"] = caller
            self._rate.take(caller.name)
        if method != "POST" or is_upload(method, scope["path"]):
            return None
        _require_json(connection)
        return await self._body(connection, receive)

    async def _caller(self, connection: HTTPConnection) -> Caller:
        """Return who makes a request. Errors: Refused: 401; 429 for one who guesses; 503 if nobody can say."""
        address = connection.client.host if connection.client else ""
        if self._authenticator is None:
            return Caller(user=None, how="none", address=address, operator=True)
        token = _bearer_token(connection)
        user = await self._authenticator.user_of(token) if token else None
        if user is None:
            self._failures.take(address)
            raise not_signed_in()
        return Caller(user=user.name, how=user.how, address=address, operator=user.name in self._operators)

    async def _body(self, connection: HTTPConnection, receive: Receive) -> bytes:
        """Return the body. Errors: Refused: 413 for one that is too large, 408 for one that comes too slowly."""
        limit = self._settings.web_max_body_bytes
        announced = connection.headers.get("content-length", "0")
        if not announced.isdecimal() or len(announced) > 15 or int(announced) > limit:
            raise _too_large(limit)
        content = bytearray()
        try:
            async with asyncio.timeout(self._settings.web_request_timeout_s):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise Refused(400, "The body has not arrived.")
                    content += event.get("body", b"")
                    if len(content) > limit:
                        raise _too_large(limit)
                    if not event.get("more_body"):
                        return bytes(content)
        except TimeoutError:
            raise Refused(408, "The body came too slowly.", {"connection": "close"}) from None


class _Answering:
    """The way back to a client: with our headers, and not for ever to one who does not read."""

    def __init__(self, scope: Scope, send: Send, timeout_s: float) -> None:
        self._send = send
        self._may_answer_websockets = "websocket.http.response" in (scope.get("extensions") or {})
        self._timeout_s = timeout_s
        self._begun = False
        self.cut = False

    async def send(self, event: Message) -> None:
        if event["type"].startswith("websocket.http.response.") and not self._may_answer_websockets:
            if event["type"].endswith("body"):
                return
            event = {"type": "websocket.close", "code": _REFUSED, "reason": ""}
        if event["type"] in ("http.response.start", "websocket.http.response.start"):
            self._begun = True
            event = {**event, "headers": _with_ours(event.get("headers", ()))}
        elif event["type"] == "websocket.accept":
            self._begun = True
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(event)
        except TimeoutError:
            self.cut = True
            raise

    async def refuse(self, scope: Scope, receive: Receive, refused: Refused) -> None:
        """Answer with a refusal. A WebSocket is refused before it is opened."""
        if self._begun:
            return
        await answer_of(refused)(scope, receive, self.send)

    async def bug(self, scope: Scope, receive: Receive, error: Exception) -> None:
        """Answer that what nobody expected has happened, if nothing was answered yet."""
        if not self._begun and scope["type"] == "http":
            await (await on_bug(Request(scope), error))(scope, receive, self.send)


def _route_by_what_was_sent(scope: Scope) -> None:
    """Have routes match the path as it was sent, so that a slash within a key is none between keys."""
    raw = scope.get("raw_path") or scope["path"].encode()
    try:
        path = raw.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(400, "The path is not percent-encoded.") from None
    scope["path"] = path.partition("?")[0]
    if scope.get("http_version") not in ("1.0", "1.1", None):
        raise Refused(505, "HTTP/1.1 is spoken here.")


def _require_json(connection: HTTPConnection) -> None:
    """Check that a page of another site could not have sent this without asking first. Errors: Refused (415)."""
    types = connection.headers.getlist("content-type")
    if len(types) != 1 or types[0].partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "Send JSON: `content-type: application/json`, and {} where there is nothing to say.")


def _bearer_token(connection: HTTPConnection) -> str | None:
    values = connection.headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _with_ours(headers: Any) -> list[tuple[bytes, bytes]]:
    """Return headers with those that every answer has."""
    given = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    names = {name for name, _ in given}
    ours = [header for header in HEADERS if header[0] not in names]
    return given + ours + ([] if b"cache-control" in names else [(b"cache-control", b"no-store")])


def _too_large(limit: int) -> Refused:
    return Refused(413, f"The body is over the limit of {limit} bytes: send less at a time.", {"connection": "close"})


async def _let_it_finish(receive: Receive, at_most: int) -> None:
    """Read a little more of a body that is refused: who still sends when the connection is closed sees no answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while at_most > 0:
                event = await receive()
                at_most -= len(event.get("body", b""))
                if event["type"] == "http.disconnect" or not event.get("more_body"):
                    return


def replayed(body: bytes | None, receive: Receive) -> Receive:
    """Return a `receive` that gives the body, and then what else comes."""
    if body is None:
        return receive
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
