"""Where functions run: threads and event loops beside the loop that serves Restate, so that none of them blocks it.

Knows nothing of attempts, of their timeouts, or of Restate. Its threads are daemons: one that never returns does not
hold the process.

Coroutine functions share one loop, because the clients that they share are bound to it. One that blocks it is found
out: new calls of others go to the next loop until the first is free, and its own calls get a thread each from then on.
"""

import asyncio
import contextlib
import inspect
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass
from itertools import count
from types import FrameType
from typing import Any

from app.background.failure import harmless

Function = Callable[..., Any]

_TICK_S = 0.1
STALL_TICKS = 5  # half a second: a loop that does not answer for so long is blocked
_MAX_SHARED = 8  # loops; each but the first is there only because those before it are blocked
_WARN_FULL_S = 10
_serial = count(1)

logger = logging.getLogger("functions")


@dataclass(frozen=True)
class Ended:
    """How a function ended: with a value, or with an error."""

    value: Any = None
    error: BaseException | None = None


class Running:
    """A function that runs. `ended` is a future of the loop that started it. Cancelling that changes nothing here."""

    def __init__(self, name: str, release: Callable[[], None] | None) -> None:
        self.name = name
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._home = asyncio.get_running_loop()
        self._release = release
        self.loop: FunctionLoop | None = None  # None: a plain function
        self.task: asyncio.Task[Ended | None] | None = None  # known to the thread of `loop` only

    @property
    def stuck(self) -> bool:
        """Whether nothing can end it but itself: a thread cannot be aborted, nor a blocked loop."""
        return self.loop is None or self.loop.blocked

    def cancel(self) -> None:
        """Ask it to end: a coroutine gets CancelledError, a plain function hears nothing."""
        if self.loop is not None:
            self.loop.call(self._cancel_task)

    def report(self, ended: Ended) -> None:
        """Tell the loop that started it. Called in the thread of the function."""
        with contextlib.suppress(RuntimeError):  # that loop is closed: the process ends
            self._home.call_soon_threadsafe(self._settle, ended)

    def _cancel_task(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _settle(self, ended: Ended) -> None:
        if self._release is not None:
            self._release()
        if not self.ended.done():
            self.ended.set_result(ended)


class FunctionLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._runs: set[Running] = set()
        self._waiting: dict[Running, tuple[Coroutine[Any, Any, Any], Context]] = {}  # not begun yet
        self._answered = True
        self._missed = 0
        self._thread = threading.Thread(target=self._serve, name=f"functions-{next(_serial)}", daemon=True)
        self._thread.start()

    @property
    def blocked(self) -> bool:
        return self._missed >= STALL_TICKS

    @property
    def busy(self) -> bool:
        return bool(self._runs)

    def call(self, callback: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(callback)

    def start(self, running: Running, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        """Run `coroutine` here and report its end."""

        async def first_step() -> Ended | None:
            return None if self._waiting.pop(running, None) is None else await _ended(coroutine)

        def begin() -> None:
            if running.loop is self:  # not moved
                running.task = task = self._loop.create_task(first_step(), context=context)
                task.add_done_callback(end)

        def end(task: asyncio.Task[Ended | None]) -> None:
            if task.cancelled() and self._waiting.pop(running, None) is not None:
                coroutine.close()  # cancelled before its first step
                self._report(running, Ended(error=asyncio.CancelledError()))
            elif not task.cancelled() and (ended := task.result()) is not None:
                self._report(running, ended)

        self._runs.add(running)
        self._waiting[running] = (coroutine, context)
        running.loop = self
        self.call(begin)

    def move_waiting(self, other: "FunctionLoop") -> None:
        """Let what has not begun here begin elsewhere. Called by the thread that watches."""
        for running in tuple(self._waiting):
            waiting = self._waiting.pop(running, None)  # whoever gets it begins it
            if waiting is not None:
                self._runs.discard(running)
                other.start(running, *waiting)

    def tick(self) -> bool:
        """Ask whether it is alive. Return whether it has just become blocked. Called every tenth of a second."""
        if self._answered:
            self._missed, self._answered = 0, False
            self.call(self._answer)
            return False
        self._missed += 1
        return self._missed == STALL_TICKS

    def blocker(self) -> tuple[Running | None, str]:
        """Return what blocks it, if that can be seen, and where it is, as file:line."""
        frames = list(_stack(sys._current_frames().get(self._thread.ident or 0)))
        task = asyncio.current_task(self._loop)
        guilty = next((running for running in tuple(self._runs) if running.task is task), None)
        if not frames:
            return guilty, "?"
        own = [
            frame for frame in frames if "/site-packages/" not in frame.filename and "/lib/python" not in frame.filename
        ]
        place = (own or frames)[-1]
        return guilty, f"{place.filename}:{place.lineno}"

    def _report(self, running: Running, ended: Ended) -> None:
        self._runs.discard(running)
        running.report(ended)

    def _answer(self) -> None:
        self._answered, self._missed = True, 0

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


class Workers:
    """All threads and loops of the functions of this process."""

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._threads = asyncio.Semaphore(max_threads)
        self._shared: list[FunctionLoop] = []
        self._own: list[FunctionLoop] = []  # each runs one call of a function that blocks
        self._blocking: set[Function] = set()
        self._watch = threading.Thread(target=self._watch_loops, name="functions-watch", daemon=True)
        self._anything_runs = threading.Event()
        self._functions: dict[Running, Function] = {}

    async def start(self, function: Function, arguments: tuple[Any, ...], name: str) -> Running:
        """Start `function` and return what runs, in the caller's context. Waits for a thread if it needs one."""
        context = copy_context()
        if inspect.iscoroutinefunction(function) and function not in self._blocking:
            running = self._running(function, name, None)
            self._shared_loop().start(running, function(*arguments), context)
            return running
        await self._take_thread(name)
        running = self._running(function, name, self._threads.release)
        if inspect.iscoroutinefunction(function):
            self._own_loop().start(running, function(*arguments), context)
        else:
            self._start_thread(running, function, arguments, context)
        return running

    def _running(self, function: Function, name: str, release: Callable[[], None] | None) -> Running:
        running = Running(name, release)
        self._functions[running] = function
        running.ended.add_done_callback(lambda _: self._forget(running))
        if not self._watch.is_alive() and self._watch.ident is None:
            self._watch.start()
        self._anything_runs.set()
        return running

    def _forget(self, running: Running) -> None:
        self._functions.pop(running, None)

    async def _take_thread(self, name: str) -> None:
        try:
            async with asyncio.timeout(_WARN_FULL_S):
                await self._threads.acquire()
        except TimeoutError:
            logger.warning(
                "Function %r waits for a thread: all %d are busy, some perhaps with functions that never return. "
                "FUNCTION_THREADS allows more.",
                name,
                self._max_threads,
            )
            await self._threads.acquire()

    def _shared_loop(self) -> FunctionLoop:
        free = next((loop for loop in self._shared if not loop.blocked), None)
        if free is None and len(self._shared) < _MAX_SHARED:
            free = FunctionLoop()
            self._shared.append(free)
        return free or self._shared[0]

    def _own_loop(self) -> FunctionLoop:
        free = next((loop for loop in self._own if not loop.busy), None)
        if free is None:
            free = FunctionLoop()
            self._own.append(free)
        return free

    def _start_thread(self, running: Running, function: Function, arguments: tuple[Any, ...], context: Context) -> None:
        def run() -> None:
            try:
                value = context.run(function, *arguments)
            except BaseException as exc:  # noqa: BLE001 - reported to whoever waits
                running.report(Ended(error=harmless(exc)))
                return
            if inspect.iscoroutine(value):  # a decorator may hide that the function is one
                self._shared_loop().start(running, value, context)
            else:
                running.report(Ended(value))

        threading.Thread(target=run, name=f"function-{running.name}", daemon=True).start()

    def _watch_loops(self) -> None:
        """Run in a thread of its own: see which loop does not answer, and say which function blocks it."""
        while True:
            self._anything_runs.wait()
            time.sleep(_TICK_S)
            if not self._functions:
                self._anything_runs.clear()
            for loop in (*self._shared, *self._own):
                if (loop.busy or loop.blocked) and loop.tick() and loop in self._shared:
                    self._blame(*loop.blocker())
                    loop.move_waiting(self._shared_loop())

    def _blame(self, guilty: Running | None, place: str) -> None:
        function = None if guilty is None else self._functions.get(guilty)
        if function is None or guilty is None:
            logger.warning("A function blocks the event loop of functions at %s: make it a plain `def`", place)
        elif function not in self._blocking:
            self._blocking.add(function)
            logger.warning(
                "Function %r is `async def` and blocks its event loop at %s: each call gets a thread of its own from "
                "now on. Make it a plain `def`, or await an asynchronous client.",
                guilty.name,
                place,
            )


async def _ended(coroutine: Coroutine[Any, Any, Any]) -> Ended:
    try:
        return Ended(await coroutine)
    except BaseException as exc:  # noqa: BLE001 - reported to whoever waits; SystemExit would end the loop of others
        return Ended(error=harmless(exc))


def _stack(frame: FrameType | None) -> Iterator[traceback.FrameSummary]:
    if frame is not None:
        yield from traceback.extract_stack(frame)
