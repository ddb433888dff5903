"""The transport to a server with a URL: streamable HTTP, with limits on what it may answer.

Owns the HTTP client. What the protocol says is the library's.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from app.mcp.config import McpServer
from app.mcp.stdio import MAX_MESSAGE_BYTES, too_large

_STREAM = "text/event-stream"


@asynccontextmanager
async def http(server: McpServer, on_status: Callable[[int], None]) -> AsyncIterator[TransportStreams]:
    """Give the streams of the messages of the server at `server.url`. `on_status` is given the status of each answer.

    The library keeps it to itself, and a 401 needs another sentence than a 500.
    """

    async def look(response: httpx2.Response) -> None:
        if response.request.method == "POST":  # not of the stream that a server need not have
            on_status(response.status_code)
        streams = response.headers.get("content-type", "").lower().startswith(_STREAM)
        if not streams and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Limited(response.stream)

    async with create_mcp_http_client(headers=dict(server.headers)) as client:
        client.event_hooks = {"response": [look]}
        async with streamable_http_client(
            server.url or "", http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
        ) as streams:
            yield streams


class _Limited(httpx2.AsyncByteStream):
    """The bytes of an answer, up to the limit."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for data in self._stream:
            size += len(data)
            if size > MAX_MESSAGE_BYTES:
                raise httpx2.StreamError(too_large())
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
