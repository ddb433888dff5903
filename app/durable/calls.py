"""Durable calls: another handler is called, and its invocation ends with the wait for it.

Owns the call and its cancellation. Does not know what is called.
"""

import asyncio
from contextlib import suppress
from typing import cast

from restate.serde import BytesSerde
from restate.server_context import ServerInvocationContext

from app.address import Address, I, O, Written
from app.durable.waits import current_loop


class Call:
    """A call of a handler that is under way. `key` is that of a virtual object. `answer` is the future of its JSON.

    Durable: three journal entries.
    Errors: restate.TerminalError as the handler raised it. Restate waits for a service that nobody serves.
    """

    def __init__(self, address: Address[I, O], request: I, *, key: str | None = None) -> None:
        self._loop = current_loop()
        # The SDK gives the id of the invocation to the real loop only; here it must be awaited on the durable one.
        self._ctx = cast(ServerInvocationContext, self._loop.ctx)
        self._handles = self._ctx.vm.sys_call(address.service, address.name, Written().serialize(request), key)
        self._cancelled = False
        self.answer = self._loop.wait_for(self._ctx.create_future(self._handles.result_handle, BytesSerde()))

    def cancel(self) -> None:
        """Cancel the invocation, without waiting for its end."""
        if self._cancelled or self.answer.done():
            return
        self._cancelled = True
        invocation_id: asyncio.Future[str] = self._loop.wait_for(
            self._ctx.create_future(self._handles.invocation_id_handle)
        )
        invocation_id.add_done_callback(lambda known: self._ctx.cancel_invocation(known.result()))

    async def wait(self, *, timeout_s: float | None = None) -> bool:
        """Wait for the answer and return whether it is there. `answer.result()` then gives or raises it.

        Cancelling the awaiting task cancels the invocation, and waits for its end.
        """
        try:
            await asyncio.wait((self.answer,), timeout=timeout_s)  # unlike a plain await it leaves the answer alone
        except asyncio.CancelledError:
            self.cancel()
            await self._end()
            raise
        return self.answer.done()

    async def _end(self) -> None:
        """Wait for the end of a cancelled invocation, however often that is cancelled too."""
        while not self.answer.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait((self.answer,))
        self.answer.exception()  # looked at, so that asyncio does not report it as missed
