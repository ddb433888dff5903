"""Requests to handlers of chats by Restate's ingress, made again where that is safe.

Carries nothing of the caller but key and body: no header of theirs, so no credential, gets into a journal.
"""

import asyncio
import json
import time
import uuid
from typing import Any
from urllib.parse import quote

import httpx
from pydantic_core import from_json

from app.errors import AgentError
from app.turns.addresses import CHAT_SERVICE
from app.web.refusals import Refused, later

ANSWER_WITHIN_S = 20.0  # handlers of a chat take milliseconds; longer means that the service is down
AWAY_WITHIN_S = 5.0  # for a Restate that is just starting
_CONNECT_S = 3.0
_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)  # the last one again and again
_PASSING = frozenset({404, 408, 429, 500, 502, 503, 504})  # of the ingress itself: it starts, or knows no service yet

READS = frozenset({"get_status", "get_chat_history", "look"})
NEW_MESSAGE = "process_user_message"


class Ingress:
    """The ingress at `url`. Connections are kept until `close`."""

    def __init__(
        self, url: str, *, within_s: float = ANSWER_WITHIN_S, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._within_s = within_s
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def call(self, key: str, handler: str, body: Any = None) -> Any:
        """Call a handler of the chat `key` and return its answer. It takes effect once, however often it is sent.

        Errors: Refused with the status and the sentence of the handler; 503 where Restate or the service is away.
        """
        headers = {"content-type": "application/json"}
        if handler == NEW_MESSAGE:
            body = with_message_id(body)
        elif handler not in READS:
            headers["idempotency-key"] = uuid.uuid4().hex
        path = f"/{CHAT_SERVICE}/{encoded(key)}/{handler}"
        answer = await self.send("POST", path, content=_written({} if body is None else body), headers=headers)
        return from_json(answer.content) if answer.content else None

    async def wait_for_end(self, invocation_id: str, within_s: float) -> None:
        """Return when an invocation has ended, however that was, or after `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                path = f"/restate/invocation/{quote(invocation_id, safe='')}/attach"
                await self.send("GET", path, within_s=within_s)
        except (TimeoutError, AgentError):
            return

    async def send(self, method: str, path: str, *, within_s: float | None = None, **request: Any) -> httpx.Response:
        """Return the answer to a request that may be repeated. Errors: as `call`."""
        begun = time.monotonic()
        within_s = within_s or self._within_s
        attempt = 0
        while True:
            failed = await self._attempt(method, path, begun + within_s, request)
            if isinstance(failed, httpx.Response):
                return failed
            pause = _PAUSES_S[min(attempt, len(_PAUSES_S) - 1)]
            if time.monotonic() + pause >= begun + min(within_s, AWAY_WITHIN_S):
                raise failed
            attempt += 1
            await asyncio.sleep(pause)

    async def _attempt(
        self, method: str, path: str, deadline: float, request: dict[str, Any]
    ) -> httpx.Response | Refused:
        """Return the answer, or why another attempt is due. Errors: Refused by the handler, or out of time."""
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.001)):
                answer = await self._client.request(method, self._url + path, **request)
        except httpx.TransportError:
            return later(503, "Restate cannot be reached. Start it, or check RESTATE_INGRESS_URL.", 2)
        except TimeoutError:
            raise later(
                503, "The service does not answer in time. What was sent takes effect when it is back.", 5
            ) from None
        if answer.is_success:
            return answer
        by_ingress = answer.headers.get("x-restate-error-source") == "ingress"
        if by_ingress and answer.status_code in _PASSING:
            return later(503, "Restate does not know the chats yet, or is busy. Try again.", 2)
        raise Refused(answer.status_code, _message_of(answer))

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = httpx.AsyncClient(
                transport=self._transport,
                timeout=httpx.Timeout(None, connect=_CONNECT_S),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
                trust_env=False,
                verify=self._url.startswith("https"),  # certificates take 20 ms to load
            )
        return self._http


def encoded(key: str) -> str:
    """Return a key as one segment of a path, also one that is made of dots."""
    return quote(key, safe="") if key.strip(".") else key.replace(".", "%2E")


def with_message_id(body: Any) -> Any:
    """Return a message with an id of its own: sent again, it is the same message."""
    if isinstance(body, dict) and body.get("message_id") is None:
        return {**body, "message_id": uuid.uuid4().hex}
    return body


def _written(body: Any) -> bytes:
    """Return a body as JSON. Errors: Refused (400)."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as exc:
        raise Refused(400, f"The body has what JSON cannot carry: {exc}") from exc


def _message_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text or f"Restate answers {answer.status_code}."
