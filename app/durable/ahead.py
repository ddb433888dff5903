"""Results of steps that count ahead of their record: the code that goes on by them need not wait for the engine.

The result is on its way to the engine before every command that follows from it, on the same stream and in that order:
a journal that has the command has the result too, and a replay takes it from there. A replay may meet other completions
first, which this attempt had not seen. So this is for code whose next command is the same whatever else has come in.
"""

import collections
from typing import Any, cast

from restate import Context, RestateDurableFuture
from restate.server_context import ServerInvocationContext


class ResultAhead(BaseException):
    """Raised where the driver waits: the result of a step is known, and on its way to the engine."""

    def __init__(self, durable: RestateDurableFuture[bytes], result: bytes) -> None:
        self.durable = durable
        self.result = result


class ResultsAhead:
    """The SDK's channel of input, which raises what was told when the SDK has sent it off."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._told: collections.deque[ResultAhead] = collections.deque()

    @classmethod
    def of(cls, ctx: Context) -> "ResultsAhead":
        """Return the channel of an attempt, which has one of these from here on."""
        attempt = cast(ServerInvocationContext, ctx)
        if not isinstance(attempt.receive, cls):
            attempt.receive = cast(Any, cls(attempt.receive))
        return cast(ResultsAhead, attempt.receive)

    def tell(self, durable: RestateDurableFuture[bytes], result: bytes) -> None:
        """Say, inside of the closure of a step, what it is about to return."""
        self._told.append(ResultAhead(durable, result))

    async def __call__(self) -> Any:
        event = await self._receive()
        if self._told and event.get("type") == "restate.run_completed":
            raise self._told.popleft()
        return event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receive, name)
