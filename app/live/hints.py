"""Hints that a chat has changed, given once the engine has the change.

Costs the handler that changed it nothing: no time, no journal entry. A process that dies takes its hints with it.
"""

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

from app.live import get_hub
from app.live.events import ChatChanged

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

logger = logging.getLogger("live")

_noted: ContextVar[dict[str, ChatChanged] | None] = ContextVar("changed chats", default=None)


def note_change(key: str, *, forgotten: bool = False) -> None:
    """Note that the handler which runs now changes the chat `key`."""
    noted = _noted.get()
    if noted is not None:
        noted[key] = ChatChanged(forgotten=forgotten)


class Hints:
    """The application `app`. When a request has ended, those who watch the chats that it changed are told."""

    def __init__(self, app: "ASGIFramework") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        noted: dict[str, ChatChanged] = {}
        token = _noted.set(noted)
        try:
            await self._app(scope, receive, send)
        finally:  # the engine closes the request when it has all that the handler sent
            _noted.reset(token)
            for key, hint in noted.items():
                get_hub().publish(key, hint)
