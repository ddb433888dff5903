"""The runs that clients have begun here: which message each one has brought, so that it can be stopped by its id.

In the memory of this process, the newest ones. Stops nothing itself.
"""

import asyncio
from collections import OrderedDict

MAX_KEPT = 10_000


class OpenRuns:
    """Remembers runs by chat and run id. One whose message is still on its way is known already."""

    def __init__(self) -> None:
        self._messages: OrderedDict[tuple[str, str], asyncio.Future[str | None]] = OrderedDict()

    def begin(self, key: str, run_id: str) -> asyncio.Future[str | None]:
        """Note a run. The future is to be given the id of its message when the chat has it, None if it refused it."""
        message: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._messages[key, run_id] = message
        self._messages.move_to_end((key, run_id))
        if len(self._messages) > MAX_KEPT:
            self._messages.popitem(last=False)
        return message

    async def message_of(self, key: str, run_id: str) -> tuple[bool, str | None]:
        """Return whether a run is known, and its message, once the chat has that."""
        message = self._messages.get((key, run_id))
        return (False, None) if message is None else (True, await asyncio.shield(message))
