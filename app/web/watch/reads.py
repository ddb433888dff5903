"""Reads of the record of chats, through Restate's ingress.

Changes nothing: who watches a chat leaves no trace in it.
"""

from typing import Protocol
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from app.errors import AgentError
from app.turns.addresses import CHAT_SERVICE
from app.turns.reading.history import Look, LookRequest

_TIMEOUT_S = 30
_CONNECT_S = 3
_LONGEST_REASON = 300  # characters of an error


class RecordUnavailable(AgentError):
    """The chats cannot be read now: Restate does not answer."""

    status = 503


class Reads(Protocol):
    """Who reads the record."""

    async def look(self, key: str, request: LookRequest) -> Look:
        """Return what the handler `look` of the chat `key` answers.

        Errors: RecordUnavailable with a sentence for who watches.
        """


class IngressReads:
    """Reads through the ingress at `url`."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        timeout = httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S)
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=timeout,
            limits=limits,
            trust_env=False,  # a proxy of the environment is not for this
            verify=url.startswith("https"),  # reading the certificates takes 28 ms
        )

    async def look(self, key: str, request: LookRequest) -> Look:
        path = f"/{CHAT_SERVICE}/{quote(key, safe='').replace('.', '%2E')}/look"  # clients fold `..`
        try:
            answer = await self._http.post(path, json=request.model_dump(mode="json"))
        except httpx.HTTPError as exc:
            reason = str(exc) or type(exc).__name__
            raise RecordUnavailable(f"Restate does not answer at {self._http.base_url}: {reason}") from exc
        if not answer.is_success:
            raise RecordUnavailable(f"The chat cannot be read: {answer.text[:_LONGEST_REASON]}")
        try:
            return Look.model_validate_json(answer.content)
        except ValidationError as exc:
            raise RecordUnavailable("The chat cannot be read: its answer is of another version") from exc

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
