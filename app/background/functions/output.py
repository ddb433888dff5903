"""What functions stream while they run, told to whoever watches their agent in this process.

Keeps nothing: who comes later sees what comes later. A watcher who falls behind is let go.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

END = "[DONE]"  # after the last piece of a stream; other streams of the agent may follow
_MOST_BEHIND = 1000  # pieces


@dataclass(eq=False)
class Watcher:
    """One who watches an agent, or one run of it. `None` in `pieces` says that it fell behind."""

    run_id: str | None
    loop: asyncio.AbstractEventLoop
    pieces: "asyncio.Queue[str | None]" = field(default_factory=asyncio.Queue)
    gone: bool = False

    def take(self, piece: str) -> None:
        """Keep a piece until it is read."""
        if self.gone:
            return
        self.gone = self.pieces.qsize() >= _MOST_BEHIND
        self.pieces.put_nowait(None if self.gone else piece)


_watchers: dict[str, list[Watcher]] = {}


def tell(agent_id: str, run_id: str, piece: str, *, but: Watcher | None = None) -> None:
    """Give a piece of output to who watches the agent, in whatever thread they are."""
    for watcher in tuple(_watchers.get(agent_id, ())):
        if watcher is not but and watcher.run_id in (None, run_id):
            watcher.loop.call_soon_threadsafe(watcher.take, piece)


@contextmanager
def watching(agent_id: str, run_id: str | None = None) -> Iterator[Watcher]:
    """Watch an agent, or with `run_id` that run of it, for the time of the block."""
    watcher = Watcher(run_id, asyncio.get_running_loop())
    _watchers.setdefault(agent_id, []).append(watcher)
    try:
        yield watcher
    finally:
        left = [each for each in _watchers[agent_id] if each is not watcher]
        if left:
            _watchers[agent_id] = left
        else:
            del _watchers[agent_id]
