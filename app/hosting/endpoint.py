"""The Restate services of a process as one application, who may call it, and what others get who try.

Builds the application. Starts nothing.
"""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import restate
from restate import Service, VirtualObject
from restate.exceptions import SdkInternalBaseException
from restate.server_context import DisconnectedException
from restate.vm import VMException  # type: ignore[attr-defined]  # not re-exported, and its own module has no types

from app.errors import UsageError
from app.hosting.place import Place
from app.settings import Settings

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

_INVOCATION = b"application/vnd.restate.invocation."
_SERVERS = ("hypercorn.error", "granian.error")  # the loggers of the HTTP servers
_NO_BUGS = (VMException, DisconnectedException, SdkInternalBaseException)


def build_endpoint(services: Iterable[Service | VirtualObject], settings: Settings) -> "ASGIFramework":
    """Return the ASGI application that serves `services` to the Restate servers that may call them.

    With RESTATE_IDENTITY_KEYS a request that none of these servers has signed is answered 401, but for `/health`.
    Errors: UsageError where anybody on the network could call it.
    """
    require_callers_known(settings)
    keys = list(settings.restate_identity_keys or ())
    for name in ("restate.server", *_SERVERS):
        if not any(isinstance(present, _OneLine) for present in logging.getLogger(name).filters):
            logging.getLogger(name).addFilter(_OneLine())
    return _Gate(cast("ASGIFramework", restate.app(services, identity_keys=keys)))


def require_callers_known(settings: Settings) -> None:
    """Raise UsageError if the service would listen beyond this machine and answer whoever calls.

    A Restate server of anybody's could otherwise register it, and run turns with its LLM key and its tools.
    """
    place = Place(settings.host, settings.port, "PORT")
    if settings.restate_identity_keys or settings.allow_unsigned_requests or place.is_loopback:
        return
    raise UsageError(
        f"HOST={settings.host} lets other machines call the service, and with it use its LLM key and its tools. Set "
        "RESTATE_IDENTITY_KEYS to the public keys of your Restate servers, or ALLOW_UNSIGNED_REQUESTS=true if nothing "
        f"but them reaches port {settings.port}."
    )


class _Gate:
    """The application, kept from what no Restate server sends: browsers, scanners, a first try with curl.

    The SDK answers such a request with an exception and a page of log.
    """

    def __init__(self, app: "ASGIFramework") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        elif scope["type"] == "http" and (refusal := _refusal(scope["path"], scope["headers"])) is not None:
            await _refuse(*refusal, receive, send)
        else:
            await self._app(scope, receive, send)


def _refusal(path: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    """Return the status and the sentence for what the SDK could not answer, None for what it can."""
    try:
        path.encode()
        for name, value in headers:
            name.decode()
            value.decode()
    except UnicodeError:
        return 400, "A path and headers in UTF-8 are needed."
    parts = path.split("/")
    if parts[-1] in ("health", "discover"):
        return None
    if len(parts) < 4 or parts[-3] != "invoke":
        return 404, "Nothing is here: this is the service behind Restate. Send requests to Restate's ingress."
    if not any(name.lower() == b"content-type" and value.startswith(_INVOCATION) for name, value in headers):
        return 415, "Only a Restate server can call this. Send requests to Restate's ingress."
    return None


async def _refuse(status: int, sentence: str, receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
    """Answer a request with a status and a sentence."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    more = True
    while more:  # Hypercorn breaks a connection whose client still sends after the last byte of the answer
        event = await receive()
        more = event["type"] == "http.request" and event["more_body"]
    await send({"type": "http.response.body", "body": f"{sentence}\n".encode(), "more_body": False})


class _OneLine(logging.Filter):
    """Makes one line, once, of a call that ended early: a lost connection, a stranger's bytes, an unfit journal.

    The SDK and the HTTP server write a traceback each.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, _NO_BUGS):
            return True
        record.msg, record.args, record.exc_info, record.exc_text = "A call ended early: %s", (error,), None, None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return record.name not in _SERVERS  # which have it from the SDK
