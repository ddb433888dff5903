"""The routes of files that come with messages: one is uploaded first, and named in a message then.

Decides who may, and how long it may take. What is taken, and where it is kept, is the matter of `files/`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import quote, unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors import AgentError
from app.files import is_inline
from app.web.caller import chat_of, segment
from app.web.gateway import gateway_of
from app.web.refusals import Refused

NAME_HEADER = "x-file-name"  # a page of another site cannot send it without asking first
_PATH = re.compile(r"/chats/[^/]+/files", re.ASCII)
_PIECE = 256 * 1024
_SLOWEST = 50_000  # bytes a second
_LINGER_S = 1.0


def routes() -> list[Route]:
    """Return the routes of files."""
    return [
        Route("/chats/{key}/files", upload, methods=["POST"]),
        Route("/chats/{key}/files/{file_id}", content, methods=["GET"]),
    ]


def is_upload(method: str, path: str) -> bool:
    """Return whether the body of a request is a file, which is no JSON and has limits of its own."""
    return method == "POST" and _PATH.fullmatch(path) is not None


async def upload(request: Request) -> Response:
    """Keep a file for a message of this chat, and answer its id and what it was found to be."""
    key, gateway = chat_of(request), gateway_of(request)
    name = request.headers.get(NAME_HEADER)
    try:
        if name is None:
            raise Refused(400, f"The name of the file is missing: send it percent-encoded in the header {NAME_HEADER}.")
        limit = gateway.settings.max_file_bytes
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or len(announced) > 15 or int(announced) > limit:
            raise Refused(413, f"The file is over the limit of {limit} bytes (MAX_FILE_BYTES): send a smaller one.")
        async with gateway.stream(request), asyncio.timeout(gateway.settings.web_request_timeout_s + limit / _SLOWEST):
            declared = request.headers.get("content-type", "")
            attachment, note = await gateway.files.add(key, unquote(name), declared, _pieces(request))
    except TimeoutError:
        raise Refused(408, "The file came too slowly.", {"connection": "close"}) from None
    except ClientDisconnect:
        raise Refused(400, "The file has not arrived.") from None
    except AgentError:
        await _let_it_finish(request)
        raise
    return JSONResponse(attachment.model_dump() | {"sha256": note.sha256})


async def content(request: Request) -> Response:
    """Show a file of this chat. Only images are shown by a browser, and no script in them runs."""
    key, file_id, files = chat_of(request), segment(request, "file_id"), gateway_of(request).files
    note = await files.find(key, file_id)
    found = await files.read(file_id)
    if found is None:
        raise Refused(404, "The file is gone.")
    # A browser renders no text of ours, whatever it is: HTML is plain text here, and to be saved.
    media_type = "text/plain; charset=utf-8" if note.media_type.startswith("text/") else note.media_type
    shown = "inline" if is_inline(note.media_type) else "attachment"
    headers = {
        "content-type": media_type,
        "content-disposition": f"{shown}; filename*=UTF-8''{quote(note.name, safe='')}",
        "content-security-policy": "sandbox; default-src 'none'",
    }
    return Response(found, headers=headers)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces that are worth a write."""
    piece = bytearray()
    async for part in request.stream():
        piece += part
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


async def _let_it_finish(request: Request) -> None:
    """Read a little more of a body that is refused: who still sends when the connection is closed sees no answer."""
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):  # the body was read to its end, or given up
        async with asyncio.timeout(_LINGER_S):
            async for _ in request.stream():
                pass
