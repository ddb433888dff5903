"""Lets the answers of many calls be read in fewer, larger pieces: a read costs the same however much has arrived.

With 500 answers at 20 tokens a second, read token by token, the reads alone took a core, and whoever sent a message
waited for seconds. Knows nothing of what is read.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

READS_PER_S = 1500  # of all answers of a process; 45 of them get theirs without a pause, 500 have one of 0.33 s
SHORTEST_PAUSE_S = 0.03  # below, nothing gathers
EAGER_READS = 2  # the first of an answer: nobody waits longer for its beginning
BURST = 8  # reads in a row that each found something within BURST_GAP_S: so many tokens a second nobody can read
BURST_GAP_S = 0.003
BURST_PAUSE_S = 0.005


class Pace:
    """How fast the answers that are open now are read."""

    def __init__(self) -> None:
        self._open = 0

    @contextmanager
    def reading(self, stream: Any, ends: Callable[[], bool]) -> Iterator[None]:
        """Pause before the reads of the network stream `stream`, until it `ends`; None has no reads."""
        if stream is None:
            yield
            return
        self._open += 1
        read, done, quick = stream.read, 0, 0
        now = asyncio.get_running_loop().time

        async def read_later(max_bytes: int, timeout: float | None = None) -> Any:
            nonlocal done, quick
            done += 1
            pause_s = self._open / READS_PER_S
            if done > EAGER_READS and pause_s > SHORTEST_PAUSE_S and not ends():
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all come at once
            elif quick >= BURST and not ends():
                await asyncio.sleep(BURST_PAUSE_S)
            began = now()
            data = await read(max_bytes, timeout)
            quick = quick + 1 if now() - began < BURST_GAP_S else 0
            return data

        # On this one stream, and taken off again: the client has no other place between its parser and the network.
        stream.read = read_later
        try:
            yield
        finally:
            del stream.read
            self._open -= 1
