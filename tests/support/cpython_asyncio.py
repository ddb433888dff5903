"""CPython's own tests of asyncio, from the interpreter's library, on the durable loop.

As a command it runs them and prints one JSON object: the test's name to "passed", "skipped" or its error. The tests get
a durable loop wherever they would make one of asyncio's; its time is virtual.
"""

import asyncio
import gc
import importlib
import io
import json
import sys
import unittest
import warnings
from asyncio.base_events import BaseEventLoop
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any, cast

from restate import Context

from app.durable import DurableLoop
from app.durable.loop.futures import DurableFuture, DurableTask, DurableTimer
from tests.support.fake_engine import FakeDurable

MODULES = (
    "test_locks",
    "test_queues",
    "test_taskgroups",
    "test_timeouts",
    "test_waitfor",
    "test_tasks",
    "test_futures",
)


class Deadlock(RuntimeError):
    """Nothing is ready, and no timer will be."""


class CPythonLoop(DurableLoop):
    """The durable loop with what drives and ends it, as asyncio's tests do: one round of callbacks after the other."""

    default_exception_handler = BaseEventLoop.default_exception_handler  # which logs where the tests look
    _current_handle = None
    _default_executor = None

    def __init__(self, _time: object = None) -> None:
        super().__init__(cast(Context, self))
        self._stopping = False
        self._any_factory: Any = None

    # The engine

    @property
    def vm(self) -> object:
        return SimpleNamespace(is_replaying=lambda: False)

    def sleep(self, delta: timedelta) -> FakeDurable:
        return FakeDurable("sleep", delta.total_seconds())

    # The driver

    def run_forever(self) -> None:
        self._require_open()
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")
        with self._running():
            while True:
                self._run_once()
                if self._stopping:
                    break
        self._stopping = False

    def run_until_complete(self, future: Any) -> Any:
        self._require_open()
        made = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if made:
            future._log_destroy_pending = False
        future.add_done_callback(self._stop_after)
        try:
            self.run_forever()
        except BaseException:
            if made and future.done() and not future.cancelled():
                future.exception()
            raise
        finally:
            future.remove_done_callback(self._stop_after)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def _stop_after(self, future: Any) -> None:
        if future.cancelled() or not isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
            self.stop()

    def _run_once(self) -> None:
        if not self._ready and not self._stopping:
            timers = [each for each in self._pending.items() if isinstance(each[1], DurableTimer)]
            if not timers:
                raise Deadlock("waits for what never happens")
            first = min(timers, key=lambda each: cast(DurableTimer, each[1]).wakes_at)
            self.complete(first[0], None, None)
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        self._dead = True
        self._ready.clear()
        self._pending.clear()

    def _require_open(self) -> None:
        if self._dead:
            raise RuntimeError("Event loop is closed")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass

    def advance_time(self, seconds: float) -> None:
        self._timers.now += seconds

    # The tests' own kinds of tasks

    def set_task_factory(self, factory: Any) -> None:
        self._any_factory = factory

    def get_task_factory(self) -> Any:
        return self._any_factory

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self._require_open()
        if self._any_factory is None:
            return super().create_task(coro, **options)
        name = options.pop("name", None)
        task = self._any_factory(self, coro, **options)
        if name is not None:
            task.set_name(name)
        return cast("asyncio.Task[Any]", task)

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, **options: Any
    ) -> asyncio.Handle:
        self._require_open()
        return super().call_soon(callback, *args, **options)


class Task(DurableTask[Any]):
    """The durable loop's tasks, made as asyncio's are."""

    def __init__(self, coro: Any, *, loop: Any = None, **options: Any) -> None:
        super().__init__(coro, loop=loop or cast(Any, asyncio.get_event_loop()), **options)


class Future(DurableFuture[Any]):
    """The durable loop's futures, made as asyncio's are."""

    def __init__(self, *, loop: Any = None) -> None:
        super().__init__(loop=loop or cast(Any, asyncio.get_event_loop()))


def durable_cases(tests: dict[str, ModuleType]) -> Iterator[type[unittest.TestCase]]:
    """Yield asyncio's cases for tasks and futures of every kind, for the kinds of the durable loop."""
    tasks, futures = tests["test_tasks"], tests["test_futures"]
    case = tasks.test_utils.TestCase
    kinds = {"Task": Task, "Future": Future, "all_tasks": staticmethod(asyncio.all_tasks)}
    kinds["current_task"] = staticmethod(asyncio.current_task)
    yield type("DurableTaskTests", (tasks.BaseTaskTests, tasks.SetMethodsTest, case), kinds)
    yield type("DurableFutureTests", (futures.BaseFutureTests, case), {"cls": Future})
    made = {"_new_future": lambda self: Future(loop=self.loop)}
    yield type("DurableFutureDoneCallbackTests", (futures.BaseFutureDoneCallbackTests, case), made)


class _Result(unittest.TestResult):
    """The outcome of each test by its name, the module's name in front."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}

    def _note(self, test: Any, outcome: str) -> None:
        test = getattr(test, "test_case", test)
        name = test.id().split(".", 2)[-1] if test.id().startswith("test.") else test.id()
        self.outcomes[name.replace("tests.support.cpython_asyncio.", "").replace("__main__.", "")] = outcome

    def addSuccess(self, test: Any) -> None:  # noqa: N802 - unittest's name
        self._note(test, "passed")

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        self._note(test, f"skipped: {reason}")

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        self._note(test, f"{err[0].__name__}: {err[1]}")

    addError = addFailure  # noqa: N815

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, f"{err[0].__name__}: {err[1]}")


def run() -> dict[str, str]:
    """Run the tests of the interpreter that runs this; return their outcomes."""
    utils = cast(Any, importlib.import_module("test.test_asyncio.utils"))
    utils.TestLoop = CPythonLoop
    cast(Any, asyncio).new_event_loop = cast(Any, asyncio.events).new_event_loop = CPythonLoop
    tests = {name: importlib.import_module(f"test.test_asyncio.{name}") for name in MODULES}
    loader = unittest.TestLoader()
    suite = unittest.TestSuite(loader.loadTestsFromModule(module) for module in tests.values())
    suite.addTests(loader.loadTestsFromTestCase(case) for case in durable_cases(tests))
    result = _Result()
    gc.collect()
    gc.freeze()  # dozens of tests collect a hundred times; what is there now need not be looked at
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite.run(result)
    return result.outcomes


if __name__ == "__main__":
    answers, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
    print(json.dumps(run()), file=answers)
