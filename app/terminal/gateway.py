"""The gateway as the terminal client calls it: requests of one chat, and its stream of events, made again where safe.

Shows nothing.
"""

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import count
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from app.errors import AgentError
from app.text import printable

Json = dict[str, Any]

_READ_WITHIN_S = 40.0  # the stream has a ping every 15 s
_PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # the last one again and again
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NO_ANSWER = "{} does not answer. Start the service with `make run`, or name another gateway with --url or WEB_URL."


class Refused(AgentError):
    """The gateway does not do it. `status` is 0 where nothing answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may do better in a moment."""
        return self.status in (0, 429) or self.status >= 500


class ChatGateway:
    """The chat `key` at the gateway `url`. Close it, or use it with `async with`.

    Errors: Refused where `url` cannot be the address of a gateway.
    """

    def __init__(self, url: str, key: str, token: str | None = None) -> None:
        self.url = _checked(url).rstrip("/")
        self.key = key
        self._path = f"/chats/{quote(key, safe='')}"
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=[(b"authorization", b"Bearer " + token.encode("utf-8", "replace"))] if token else [],
            timeout=httpx.Timeout(10, read=_READ_WITHIN_S),
            trust_env=urlsplit(self.url).hostname not in _LOOPBACK,  # no proxy leads to this machine
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def history(self, limit: int) -> list[Json]:
        """Return the lines of the last `limit` turns. Errors: Refused."""
        entries: list[Json] = (await self._request("GET", f"{self._path}?limit={limit}"))["entries"]
        return entries

    async def status(self) -> Json:
        """Return the state of the chat. Errors: Refused."""
        return await self._request("GET", f"{self._path}/status")

    async def preview_rollback(self) -> Json:
        """Return what a rollback would undo. Errors: Refused."""
        return await self._request("GET", f"{self._path}/preview_rollback")

    async def call(self, handler: str, **body: object) -> Json:
        """Call a handler of the chat. Errors: Refused."""
        return await self._request("POST", f"{self._path}/{handler}", body)

    async def send(
        self,
        message_id: str,
        content: str,
        *,
        mode: str | None = None,
        wait_s: int = 0,
        on_trouble: Callable[[str], None],
        give_up_s: float = math.inf,
    ) -> Json:
        """Send a message until there is a receipt; with its id that is safe. With `wait_s` there may be a `reply`.

        `on_trouble` gets why an attempt has failed before there is another one.
        Errors: Refused where trying again cannot help, or did not for `give_up_s`.
        """
        path = f"{self._path}/messages" + (f"?wait={wait_s}" if wait_s else "")
        body = {"message_id": message_id, "content": content} | ({"mode": mode} if mode else {})
        loop = asyncio.get_running_loop()
        failing_since: float | None = None  # an attempt may wait for a reply: that is no trouble
        for attempt in count():
            try:
                return await self._request("POST", path, body)
            except Refused as refused:
                failing_since = failing_since or loop.time()
                if not refused.passing or loop.time() - failing_since >= give_up_s:
                    raise
                on_trouble(refused.message)
            await _pause(attempt)
        raise AssertionError("unreachable")

    async def follow(self, on_state: Callable[[str], None]) -> AsyncIterator[Json]:
        """Yield what happens in the chat, without end; a broken line is connected again, behind what was seen.

        `on_state` gets "" when the line is there, else why it is not.
        Errors: Refused where trying again cannot help.
        """
        cursor: str | None = None
        attempt = 0
        while True:
            try:
                async for seen, event in self._stream(cursor):
                    cursor, attempt = seen, 0
                    on_state("")
                    yield event
                on_state("Connecting again… The connection is gone.")
            except Refused as refused:
                if not refused.passing:
                    raise
                on_state(f"Connecting again… {refused.message}")
            await _pause(attempt)
            attempt += 1

    async def _stream(self, cursor: str | None) -> AsyncIterator[tuple[str | None, Json]]:
        headers = {"accept": "text/event-stream"} | ({"last-event-id": cursor} if cursor else {})
        try:
            async with self._http.stream("GET", f"{self._path}/events", headers=headers) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise _refusal(answer)
                async for event_id, data in _events(answer.aiter_bytes()):
                    cursor = event_id or cursor
                    with suppress(ValueError):  # not an event of ours
                        yield cursor, json.loads(data)
        except httpx.TransportError as exc:
            raise Refused(0, _NO_ANSWER.format(self.url)) from exc

    async def _request(self, method: str, path: str, body: object = None) -> Json:
        # Waiting for a reply takes as long as it takes: the gateway ends it.
        try:
            answer = await self._http.request(method, path, json=body, timeout=httpx.Timeout(10, read=150))
        except httpx.TransportError as exc:
            raise Refused(0, _NO_ANSWER.format(self.url)) from exc
        if not answer.is_success:
            raise _refusal(answer)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(400, f"{self.url} is no gateway: check --url or WEB_URL.")
        return found


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, str]]:
    """Yield the id and the data of each event. Lines end with \\n only: other ends of lines are part of the data."""
    rest, event_id, data = b"", "", list[str]()
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines):
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
            elif name == "id":
                event_id = value.removeprefix(" ")
            elif not line and data:
                yield event_id, "\n".join(data)
                event_id, data = "", []


def _checked(url: str) -> str:
    """Return `url` if it is an address of HTTP. Errors: Refused."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ("http", "https") or not address.host:
        wanted = "name a gateway with --url or WEB_URL as http://HOST:PORT"
        raise Refused(400, f"{printable(url)!r} is no address of a gateway: {wanted}.")
    return url


def _refusal(answer: httpx.Response) -> Refused:
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return Refused(401, "The gateway wants a token: set WEB_TOKEN to the one that you were given.")
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"The gateway answered {answer.status_code}; its log may say why."
    return Refused(answer.status_code, message)


async def _pause(attempt: int) -> None:
    pause_s = _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
    await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))  # noqa: S311 - so that not all come at once
