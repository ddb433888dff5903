"""An application that sends without end, behind the guard: `python -m tests.support.endless_app SERVER PORT READ_S`.

`GET /health` says how many requests are open.
"""

import asyncio
import sys
from typing import Any

from app.hosting.logs import set_up_logging
from app.hosting.place import Place
from app.hosting.serving import Site, serve_sites
from app.hosting.strangers import Strangers
from app.settings import Settings
from app.web.guard import Guard

_open = 0


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """Send until the client has gone."""
    global _open
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False})
    if scope["path"] == "/health":
        await send({"type": "http.response.body", "body": str(_open).encode()})
        return
    _open += 1
    gone = asyncio.create_task(_gone(receive))
    try:
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            await asyncio.sleep(0.001)
    finally:
        _open -= 1
        gone.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def serve(server: Any, port: int, read_s: float) -> None:
    set_up_logging("INFO")
    guarded: Any = Guard(endless, Settings(_env_file=None, web_send_timeout_s=read_s), None)
    strangers = Strangers(headers_within_s=10, max_header_bytes=16_384, read_within_s=read_s)
    await serve_sites([Site(guarded, Place("127.0.0.1", port, "PORT"), strangers=strangers)], server=server)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
