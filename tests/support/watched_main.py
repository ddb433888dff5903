"""The application with one more path: `GET /watch/<key>` streams what a watcher of the chat sees, a JSON line each.

Run as a file, in place of `app/main.py`.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# Run as a file, the first place of the path is this folder.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from pydantic_core import to_json

from app import main
from app.hosting.logs import set_up_logging
from app.hosting.place import Place
from app.hosting.serving import serve_until_stopped
from app.live import get_hub, open_hub
from app.settings import get_settings
from app.web.watch import IngressReads, Views

WATCH = "/watch/"


class Watchable:
    """The application `app`, and the path of its watchers."""

    def __init__(self, app: Any) -> None:
        self._app = app
        settings = get_settings()
        self.views = Views(get_hub(), IngressReads(settings.restate_ingress_url), max_chars=settings.max_reply_chars)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(WATCH):
            await self._app(scope, receive, send)
            return
        streaming = asyncio.create_task(self._stream(unquote(scope["path"].removeprefix(WATCH)), send))
        while (await receive())["type"] != "http.disconnect":
            pass
        streaming.cancel()

    async def _stream(self, key: str, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False})
        async with self.views.watch(key) as events:
            async for event in events:
                line = to_json({"type": type(event).__name__, "at": time.monotonic(), "event": event}) + b"\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})


async def serve() -> None:
    settings = get_settings()
    set_up_logging(settings.log_level)
    app = main.build_app(settings)
    async with open_hub():
        await serve_until_stopped(Watchable(app), Place(settings.host, settings.port, "PORT"), server=settings.server)


if __name__ == "__main__":
    asyncio.run(serve())
