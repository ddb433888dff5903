"""Requests to Restate's ingress, made again when the connection breaks, and the error that an answer stands for.

Knows HTTP and the name of the front door, not what its handlers do.
"""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import httpx

from app.background.declare.operation import to_json
from app.background.protocol import FRONT_DOOR
from app.errors import AgentError, AgentFailed, Conflict, NotFound, TooLarge, UsageError

_ATTEMPTS = 5
_RETRY_AFTER = timedelta(milliseconds=200)
_ERRORS: dict[int, type[AgentError]] = {400: UsageError, 404: NotFound, 409: Conflict, 413: TooLarge}


class Ingress:
    """The ingress at `url`. Between `open` and `close` connections are kept. Otherwise each request makes its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open: httpx.AsyncClient | None = None

    async def open(self) -> None:
        self._open = _http(self.url)

    async def close(self) -> None:
        if self._open is not None:
            await self._open.aclose()
            self._open = None

    async def ask(self, handler: str, *, to: str = "", **body: Any) -> Any:
        """Call a handler of BackgroundAgents, or with `to="/send"` send to it. It takes effect once."""
        content = to_json(body, f"The input of {handler}")
        headers = {"idempotency-key": uuid.uuid4().hex}
        return await self.request("POST", f"/{FRONT_DOOR}/{handler}{to}", json=content or None, headers=headers)

    async def request(self, method: str, path: str, **request: Any) -> Any:
        """Return the answer to a request. It is made again if the connection breaks, or Restate has only just started.

        Errors: httpx.TransportError when Restate cannot be reached; the error that the answer stands for.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = await self._send(method, path, **request)
                if attempt == _ATTEMPTS or not _is_starting(answer):
                    break
            except httpx.TransportError:
                if attempt == _ATTEMPTS:
                    raise
            await asyncio.sleep(_RETRY_AFTER.total_seconds() * attempt)
        if not answer.is_success:
            raise _error(answer)
        return answer.json() if answer.content else None

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        if self._open is not None:
            return await self._open.request(method, path, **request)
        async with _http(self.url) as http:
            return await http.request(method, path, **request)


def _http(url: str) -> httpx.AsyncClient:
    # No timeout for answers: a result may be months away. Certificates take 20 ms to load: only if needed.
    return httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(10, read=None), verify=url.startswith("https"))


def _is_starting(answer: httpx.Response) -> bool:
    """Return whether the server does not know the service. For a moment after its start it knows none."""
    unknown = answer.status_code == httpx.codes.NOT_FOUND
    return unknown and answer.headers.get("x-restate-error-source") == "ingress"


def _error(answer: httpx.Response) -> AgentError:
    """Return the error that an answer stands for."""
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text
    return _ERRORS.get(answer.status_code, AgentFailed)(message)
