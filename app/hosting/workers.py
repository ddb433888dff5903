"""Several processes that serve at one address: starts them, starts one again that ends by itself, ends them together.

They accept connections from one socket. Knows nothing of what they serve.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import AgentError
from app.hosting.stack import end_with_parent

# Restate opens a connection when most streams of those it has are taken, and fills the newest first. With the usual
# hundred it would take 90 open turns until a second process gets any. Far fewer make more connections than a process
# may have: 2000 open turns are 360.
STREAMS_PER_CONNECTION = 8

_STOP_S = 4  # a worker drains for 2
_SHORT_LIFE_S = 5.0
_SHORT_LIVES = 5  # in a row, by their own doing: then it is no accident
_PAUSES_S = (0.0, 0.2, 1.0, 2.0)

logger = logging.getLogger("main")


async def keep_running(command: Sequence[str], count: int, *, pass_fds: Sequence[int]) -> None:
    """Run `command` in `count` processes, which get `pass_fds`, until SIGINT or SIGTERM; then end them.

    A process that ends by itself is started again. No process outlives this one, on Linux not even when it is killed.
    Errors: AgentError when they end by themselves again and again as soon as they are started.
    """
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    workers = [_Worker(command, tuple(pass_fds)) for _ in range(count)]
    stopping = asyncio.create_task(stop.wait())
    keeping = [asyncio.create_task(worker.keep()) for worker in workers]
    try:
        done, _ = await asyncio.wait((stopping, *keeping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopping, *keeping):
            task.cancel()
        await asyncio.gather(stopping, *keeping, return_exceptions=True)
        await asyncio.gather(*(worker.end() for worker in workers))
    for task in done:
        task.result()


@dataclass
class _Worker:
    """One place for a process, and the process that has it."""

    command: Sequence[str]
    pass_fds: tuple[int, ...]
    _process: asyncio.subprocess.Process | None = None
    _short_lives: int = 0

    async def keep(self) -> None:
        """Start a process, and again whenever it has ended."""
        while True:
            started_at = time.monotonic()
            # Shielded: a process that nobody knows would go on when this is cancelled meanwhile.
            starting = asyncio.ensure_future(self._start())
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:
                await starting
                raise
            assert self._process is not None  # noqa: S101 - it has been started
            exit_code = await self._process.wait()
            self._note(exit_code, time.monotonic() - started_at)
            await asyncio.sleep(_PAUSES_S[min(self._short_lives, len(_PAUSES_S) - 1)])

    async def end(self) -> None:
        """End the process, if there is one."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=self.pass_fds,
            start_new_session=True,  # a terminal sends Ctrl-C to its whole group; the order of the end is ours
            preexec_fn=end_with_parent(),
        )

    def _note(self, exit_code: int, lived_s: float) -> None:
        by_itself = exit_code >= 0  # not by a signal, such as kill -9 and that of a machine without memory
        self._short_lives = self._short_lives + 1 if by_itself and lived_s < _SHORT_LIFE_S else 0
        how = f"with exit code {exit_code}" if by_itself else f"by {signal.Signals(-exit_code).name}"
        if self._short_lives == _SHORT_LIVES:
            raise AgentError(f"A worker ends {how} as soon as it is started; its last words are above.")
        assert self._process is not None  # noqa: S101 - it has ended
        logger.warning("Worker %d ended %s after %.0f s; another takes its place", self._process.pid, how, lived_s)
