"""How many functions of a task queue run at once in this process, and how many begin in a second.

Makes calls wait. Runs and refuses none.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.background.published.ignored import ignored, say_what_is_ignored
from app.background.published.options import ResourceOptions, ServiceOptions
from app.errors import DefinitionError

_SAY_AFTER_S = 10
_SILENT_S = 60

logger = logging.getLogger("functions")


@dataclass(frozen=True)
class Limits:
    """The limits of one task queue. None is no limit. Units: `rate` is calls per second."""

    at_once: int | None = None
    rate: float | None = None

    @classmethod
    def of(cls, options: ServiceOptions | None, resources: ResourceOptions | None) -> "Limits":
        """Return the limits that options ask for. Log once what has no meaning here.

        Errors: DefinitionError for a limit that lets nothing through.
        """
        options = options or ServiceOptions()
        defaults = ServiceOptions()
        for name in ("rate_limit", "max_concurrent_function_runs"):
            value = getattr(options, name)
            if value is not None and value <= 0:
                raise DefinitionError(
                    f"ServiceOptions({name}={value!r}) lets no function run: say more than 0, or None"
                )
        if options.max_concurrent_workflow_runs != defaults.max_concurrent_workflow_runs:
            ignored(
                "ServiceOptions(max_concurrent_workflow_runs=…)", "runs that wait cost nothing, Restate suspends them"
            )
        say_what_is_ignored(options)
        if resources is not None and resources != ResourceOptions():
            ignored("ResourceOptions(…)", "use ServiceOptions(max_concurrent_function_runs=…) and FUNCTION_THREADS")
        return cls(options.max_concurrent_function_runs, options.rate_limit)


class Gate:
    """Lets the calls of one task queue through, in the order in which they come."""

    def __init__(self, limits: Limits) -> None:
        self._at_once = None if limits.at_once is None else asyncio.Semaphore(limits.at_once)
        self._spacing_s = 0.0 if limits.rate is None else 1 / limits.rate
        self._next = 0.0
        self._limits = limits
        self._silent_until = 0.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait until a call may run, and count it as running meanwhile."""
        if self._at_once is None:
            await self._in_turn()
            yield
            return
        await self._wait_for_place(self._at_once)
        try:
            await self._in_turn()
            yield
        finally:
            self._at_once.release()

    async def free(self) -> None:
        """Wait until a call would find a place."""
        if self._at_once is not None:
            await self._wait_for_place(self._at_once)
            self._at_once.release()

    async def _wait_for_place(self, places: asyncio.Semaphore) -> None:
        """Take a place. Log, at most once a minute, that there is none."""
        try:
            async with asyncio.timeout(_SAY_AFTER_S):
                await places.acquire()
        except TimeoutError:
            if time.monotonic() > self._silent_until:
                self._silent_until = time.monotonic() + _SILENT_S
                logger.warning(
                    "Calls of functions wait: all %s places of their task queue are taken", self._limits.at_once
                )
            await places.acquire()

    async def _in_turn(self) -> None:
        now = time.monotonic()
        turn = max(self._next, now)
        self._next = turn + self._spacing_s
        if turn - now > 0.001:  # less than a loop can wait for: a rate of 100,000 is no limit
            await asyncio.sleep(turn - now)
