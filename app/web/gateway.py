"""What all routes of the gateway share: settings, the way to Restate, files, views of chats, streams, its end.

Has no routes.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from starlette.requests import HTTPConnection

from app.files import files_of
from app.live import get_hub
from app.settings import Settings
from app.web.caller import caller_of
from app.web.ingress import Ingress
from app.web.limits import Streams
from app.web.watch import IngressReads, Views

T = TypeVar("T")


class Gateway:
    """The one of this process. `ending` is set when the process is asked to end: streams end then."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ingress = Ingress(settings.restate_ingress_url)
        self.files = files_of(settings)
        self._reads = IngressReads(settings.restate_ingress_url)
        self.views = Views(get_hub(), self._reads, max_chars=settings.max_reply_chars)
        self.streams = Streams(settings.web_max_streams_per_user, settings.web_max_streams)
        self.ending = asyncio.Event()

    @asynccontextmanager
    async def stream(self, connection: HTTPConnection) -> AsyncIterator[None]:
        """Hold a place for an open stream of the caller. Errors: Refused (429, 503)."""
        async with self.streams.place(caller_of(connection).name):
            yield

    async def until_ending(self, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """Yield `items` until they end or the gateway does. What is half made then is cancelled."""
        ending = asyncio.ensure_future(self.ending.wait())
        try:
            while not self.ending.is_set():
                item = asyncio.ensure_future(anext(items))
                try:
                    await asyncio.wait((item, ending), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not item.done():
                        item.cancel()
                        with suppress(asyncio.CancelledError, StopAsyncIteration):
                            await item
                if item.cancelled():
                    return
                try:
                    yield item.result()
                except StopAsyncIteration:
                    return
        finally:
            ending.cancel()

    async def close(self) -> None:
        """Close connections to Restate."""
        await self.ingress.close()
        await self._reads.aclose()


def gateway_of(connection: HTTPConnection) -> Gateway:
    """Return the gateway that a request came to."""
    gateway: Gateway = connection.app.state.gateway
    return gateway
