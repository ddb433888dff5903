"""The route of the MCP server: streamable HTTP, stateless, so that any process can answer any request.

The guard stands before it, as before all others. Knows no tools.
"""

import json
import logging
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.text import clean_data
from app.web.guard import replayed
from app.web.refusals import Refused

if TYPE_CHECKING:
    from mcp.server import Server


def routes() -> list[Route]:
    """Return the routes of the MCP server. There is no stream of its own for what a server says unasked: GET is 405."""
    return [Route("/mcp", Endpoint(), methods=["POST"])]


class Endpoint:
    """Answers one request of an MCP client, by the protocol of 2026 or by those before it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = _server()
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # an optional package

        # One for each request: its tasks end with the request, whose client may have gone away.
        manager = StreamableHTTPSessionManager(server, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, await _cleaned(scope, receive), send)


async def _cleaned(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` whose body has no half of an emoji in it: JavaScript writes those, the library refuses it."""
    body = await Request(scope, receive).body()
    if b"\\ud" in body.lower():
        with suppress(ValueError, RecursionError):  # what is no JSON is refused in the protocol's words
            body = json.dumps(clean_data(json.loads(body))).encode()
    return replayed(body, receive)


@cache
def _server() -> "Server[Any]":
    """Return the server of this process. Errors: Refused (501) where the package is not installed."""
    if not find_spec("mcp"):
        raise Refused(
            501,
            "The MCP server needs a package that is not installed here: "
            "`pip install --require-hashes -r requirements-mcp.txt`.",
        )
    from app.web.mcp.server import build_server  # an optional package

    logging.getLogger("mcp").setLevel(logging.CRITICAL)  # it writes what clients send, with tracebacks
    return build_server()
