"""When durable code is at rest: all that the engine has told it is handed in, and only something new moves it on.

Watches the SDK's context of one attempt. Changes nothing of what the attempt does.
"""

from collections.abc import Callable
from typing import Any, cast

from restate import Context
from restate.exceptions import SuspendedException
from restate.server_context import ServerInvocationContext


def watch_rest(ctx: Context, at_rest: Callable[[], None]) -> None:
    """Call `at_rest` each time before the attempt waits for the engine, and before it is suspended.

    The SDK asks for more input only when nothing that it has could complete what is waited for. That this is no longer
    a replay would not be enough: what completed since the last command of the journal is handed in after that.
    """
    attempt = cast(ServerInvocationContext, ctx)
    poll = attempt.create_poll_or_cancel_coroutine

    async def poll_and_note(unresolved: Any) -> None:
        try:
            await poll(unresolved)
        except SuspendedException:  # the input had ended already, so that nothing was asked for
            at_rest()
            raise

    attempt.create_poll_or_cancel_coroutine = poll_and_note  # type: ignore[method-assign, assignment]
    attempt.receive = cast(Any, _NotingReceive(attempt.receive, at_rest))


class _NotingReceive:
    """The SDK's channel of input, which says when it is asked."""

    def __init__(self, receive: Any, at_rest: Callable[[], None]) -> None:
        self._receive = receive
        self._at_rest = at_rest

    async def __call__(self) -> Any:
        self._at_rest()
        return await self._receive()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receive, name)
