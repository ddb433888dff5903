"""Logs which line blocks the event loop of the service. While it does, no chat and no agent of the process is served.

Looks on from a thread of its own. Ends nothing.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STALL_S = 2.0
_LOOK_EVERY_S = 0.25

logger = logging.getLogger("stall")


@asynccontextmanager
async def watch_stalls(stall_s: float = STALL_S) -> AsyncIterator[None]:
    """Log, while this is open, when code on the running loop keeps it from everything else for `stall_s` seconds."""
    watch = _Watch(asyncio.get_running_loop(), threading.get_ident(), stall_s)
    watch.start()
    try:
        yield
    finally:
        watch.stopped.set()


class _Watch(threading.Thread):
    """Asks the loop for an answer again and again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread_id: int, stall_s: float) -> None:
        super().__init__(name="stall-watch", daemon=True)
        self.stopped = threading.Event()
        self._loop = loop
        self._thread_id = thread_id
        self._stall_s = stall_s

    def run(self) -> None:
        while not self.stopped.wait(_LOOK_EVERY_S):
            answered = threading.Event()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            if answered.wait(self._stall_s):
                continue
            logger.warning(
                "%s blocks the event loop: no chat and no agent of this process is served meanwhile. Await an "
                "asynchronous client there, or run it by asyncio.to_thread inside a step",
                self._place(),
            )
            while not answered.wait(_LOOK_EVERY_S):
                if self.stopped.is_set():
                    return
            logger.warning("The event loop goes on after %.1f s", time.monotonic() - asked)

    def _place(self) -> str:
        """Return the line that runs, as file:line in function. It is one of the user's code if there is one."""
        frame = sys._current_frames().get(self._thread_id)
        if frame is None:
            return "Something"
        stack = traceback.extract_stack(frame)
        own = [each for each in stack if "/site-packages/" not in each.filename and "/lib/python" not in each.filename]
        found = (own or stack)[-1]
        return f"{found.filename}:{found.lineno} in {found.name}"
