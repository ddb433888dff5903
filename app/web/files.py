"""The page and its files, from memory.

They are the same for everybody, so nobody has to sign in for them. What is in no folder of the page is not served.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.web.refusals import Refused

PAGE = Path(__file__).parent / "page"
INDEX = "index.html"
PUBLIC = frozenset({"/", "/health", "/favicon.ico"})
STATIC = "/static/"
_NAME = re.compile(r"(?!\.)[\w.-]{1,80}(?:/(?!\.)[\w.-]{1,80}){0,4}", re.ASCII)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".ico": "image/x-icon",
    ".png": "image/png",
}


@dataclass(frozen=True)
class File:
    """A file of the page, as it was when it was read."""

    content: bytes
    media_type: str
    etag: str
    changed_at: float


def is_public(path: str) -> bool:
    """Return whether a path is the same for everybody."""
    return path in PUBLIC or path.startswith(STATIC)


def routes(folder: Path = PAGE) -> list[Route]:
    """Return the routes of the page in `folder`."""
    files = _Files(folder)
    return [
        Route("/", files.index, methods=["GET"]),
        Route("/favicon.ico", files.icon, methods=["GET"]),
        Route("/static/{name:path}", files.named, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
    ]


async def health(_request: Request) -> Response:
    """Say that the gateway is there."""
    return PlainTextResponse("ok\n")


class _Files:
    """The files below a folder, read when they are first asked for, and again when they have changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, File] = {}

    @property
    def index(self) -> Callable[[Request], Awaitable[Response]]:
        return self._serve(INDEX)

    @property
    def icon(self) -> Callable[[Request], Awaitable[Response]]:
        return self._serve("favicon.ico")

    async def named(self, request: Request) -> Response:
        return _answer(request, self._file(request.path_params["name"]))

    def _serve(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            return _answer(request, self._file(name))

        return serve

    def _file(self, name: str) -> File:
        """Return a file. Errors: Refused (404)."""
        path = self._folder / name
        # No link, no dot file, no folder above; an escape in the name stays as it is and names nothing.
        if not (_NAME.fullmatch(name) and path.suffix in _TYPES and path.is_file()) or path.is_symlink():
            raise Refused(404, "Nothing is here.")
        changed_at = path.stat().st_mtime
        known = self._read.get(name)
        if known is None or known.changed_at != changed_at:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            known = self._read[name] = File(content, _TYPES[path.suffix], etag, changed_at)
        return known


def _answer(request: Request, file: File) -> Response:
    # Asked for again each time, answered without the content while it is the same: an upgrade is seen at once.
    headers = {"etag": file.etag, "cache-control": "no-cache"}
    if file.etag in [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
