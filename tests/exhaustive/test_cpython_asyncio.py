"""CPython's own tests of asyncio's locks, queues, task groups, timeouts, tasks and futures pass on the durable loop.

They come from the library of the interpreter that runs this. What does not apply is listed by name, with its reason;
what is listed and passes all the same is reported, so that the list stays true.
"""

import importlib.util
import json
import subprocess
import sys

import pytest

from app.hosting.stack import ROOT

_C_AND_PYTHON = tuple(
    f"test_tasks.{name}_Tests"
    for name in ("CTask_CFuture", "CTask_PyFuture", "PyTask_CFuture", "PyTask_PyFuture", "PyTask_CFutureSubclass")
)
_SUBCLASSES = ("test_tasks.CTask_CFuture_SubclassTests", "test_tasks.PyTask_PyFuture_SubclassTests")
_TASKS = (*_C_AND_PYTHON, *_SUBCLASSES, "test_tasks.CTaskSubclass_PyFuture_Tests", "DurableTaskTests")
_FUTURES = (*(f"test_futures.{name}FutureTests" for name in ("C", "CSub", "Py")), "DurableFutureTests")
_THREADSAFE = (
    "test_run_coroutine_threadsafe",
    "test_run_coroutine_threadsafe_task_cancelled",
    "test_run_coroutine_threadsafe_task_factory_exception",
    "test_run_coroutine_threadsafe_with_exception",
    "test_run_coroutine_threadsafe_with_timeout",
)
_SET = "gives as_completed a set of coroutines, which is refused: it is in the order of addresses"
_FRAME = "asks for asyncio's frame as the place where a task or future was made; ours are made in Python"

DOES_NOT_APPLY = {
    **{f"{kind}.test_as_completed_concurrent": _SET for kind in _TASKS},
    **{f"{kind}.test_as_completed_reverse_wait": _SET for kind in _TASKS},
    **{f"{kind}.test_as_completed_same_tasks_in_as_out": _SET for kind in _TASKS},
    **{
        f"{kind}.test_stop_while_run_in_complete": "stops the loop, and reads the clock of the tests' own loop then"
        for kind in _TASKS
    },
    **{
        f"test_tasks.RunCoroutineThreadsafeTests.{name}": "starts coroutines from a thread of run_in_executor"
        for name in _THREADSAFE
    },
    **{f"{kind}.test_wrap_future": "waits for a future of another thread" for kind in _FUTURES},
    "test_tasks.CoroutineGatherTests.test_issue46672": "patches a method of BaseEventLoop, which is not ours",
    "DurableTaskTests.test_task_source_traceback": _FRAME,
    "DurableFutureTests.test_future_source_traceback": _FRAME,
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What became of each test, in a process of its own."""
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_asyncio") is None:
        pytest.skip("this Python came without its tests")
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.cpython_asyncio"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    answers: dict[str, str] = json.loads(printed.stdout)
    return answers


def test_cpythons_tests_pass(outcomes: dict[str, str]) -> None:
    """Every test that applies passes, or is skipped by its own reasons."""
    failed = {name: outcome for name, outcome in outcomes.items() if not outcome.startswith(("passed", "skipped"))}

    assert {name: outcome for name, outcome in failed.items() if name not in DOES_NOT_APPLY} == {}
    assert sum(outcome == "passed" for outcome in outcomes.values()) > 1300


def test_list_of_what_does_not_apply_is_true(outcomes: dict[str, str]) -> None:
    """No test that is listed as not applying passes."""
    assert [name for name in DOES_NOT_APPLY if outcomes.get(name) == "passed"] == []


def test_list_names_tests_that_exist(outcomes: dict[str, str]) -> None:
    """Every listed test is there; some came with later Pythons."""
    later = (
        {f"{kind}.test_as_completed_same_tasks_in_as_out" for kind in _TASKS} if sys.version_info < (3, 13) else set()
    )
    assert sorted(set(DOES_NOT_APPLY) - set(outcomes) - later) == []
