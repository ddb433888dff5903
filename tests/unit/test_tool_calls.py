"""The tool calls of one iteration: side by side, each with an honest result, whatever happens."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from app.errors import StepFailed, UsageError
from app.tools import Tool, by_name, tool
from app.tools.progress import progress
from app.turns.tool_calls import ToolCalls
from app.turns.transcript import ToolCall, ToolItem, ToolOutcome
from tests.support.eventually import eventually


class Workshop:
    """A tool `work` whose calls wait until their number is let go; it notes what starts, ends and is cancelled."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self._gates: dict[int, asyncio.Event] = {}

    def gate(self, n: int) -> asyncio.Event:
        return self._gates.setdefault(n, asyncio.Event())

    def tool(self) -> Tool:
        @tool
        async def work(n: int) -> str:
            """Work."""
            self.started.append(n)
            try:
                await self.gate(n).wait()
            except asyncio.CancelledError:
                self.cancelled.append(n)
                raise
            self.ended.append(n)
            return f"result {n}"

        return work


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


def calls_of(count: int) -> list[ToolCall]:
    return [ToolCall(call_id=f"c{n}", name="work", arguments=f'{{"n": {n}}}') for n in range(count)]


def short(results: list[ToolItem]) -> list[tuple[str, str]]:
    return [(item.call_id, item.outcome.value) for item in results]


async def run_one(call: ToolCall, *tools: Tool, limit: int = 1000) -> ToolItem:
    calls = ToolCalls([call], by_name(*tools), max_result_chars=limit)
    await calls.run(concurrency=1, skip=asyncio.Event())
    return calls.results[0]


def failing(raises: Callable[[], Exception]) -> Tool:
    @tool
    async def work(n: int) -> str:  # noqa: ARG001 - a tool has arguments
        """Fail."""
        raise raises()

    return work


async def test_results_are_in_the_order_of_the_calls(workshop: Workshop) -> None:
    """Whatever the order in which they end, results stand in the order of the calls."""
    calls = ToolCalls(calls_of(3), by_name(workshop.tool()), max_result_chars=100)
    running = asyncio.create_task(calls.run(concurrency=3, skip=asyncio.Event()))
    for n in (2, 0, 1):
        workshop.gate(n).set()
        await eventually(partial(workshop.ended.count, n))
    await running

    assert workshop.ended == [2, 0, 1]
    assert [(item.name, item.content) for item in calls.results] == [("work", f"result {n}") for n in range(3)]
    assert short(calls.results) == [("c0", "ok"), ("c1", "ok"), ("c2", "ok")]


async def test_concurrency_is_limited(workshop: Workshop) -> None:
    """No more than `concurrency` run at a time; the next starts when one ends."""
    calls = ToolCalls(calls_of(4), by_name(workshop.tool()), max_result_chars=100)
    running = asyncio.create_task(calls.run(concurrency=2, skip=asyncio.Event()))
    await eventually(lambda: len(workshop.started) == 2)
    assert workshop.started == [0, 1]

    workshop.gate(1).set()
    await eventually(lambda: len(workshop.started) == 3)
    assert workshop.started == [0, 1, 2]

    for n in range(4):
        workshop.gate(n).set()
    await running
    assert workshop.started == [0, 1, 2, 3]


async def test_skip_lets_started_ones_finish(workshop: Workshop) -> None:
    """Once `skip` is set no other call starts, started ones finish, and the rest say that they never started."""
    calls, skip = ToolCalls(calls_of(4), by_name(workshop.tool()), max_result_chars=100), asyncio.Event()
    running = asyncio.create_task(calls.run(concurrency=2, skip=skip))
    await eventually(lambda: len(workshop.started) == 2)

    skip.set()
    for n in range(4):
        workshop.gate(n).set()
    await running

    assert workshop.started == [0, 1]
    assert short(calls.results) == [("c0", "ok"), ("c1", "ok"), ("c2", "skipped"), ("c3", "skipped")]
    assert "never started" in calls.results[3].content


async def test_cancel_joins_the_tools_and_keeps_results(workshop: Workshop) -> None:
    """Cancelling ends running tools and waits for them; finished results are kept, the others are honest."""
    calls = ToolCalls(calls_of(4), by_name(workshop.tool()), max_result_chars=100)
    running = asyncio.create_task(calls.run(concurrency=2, skip=asyncio.Event()))
    workshop.gate(0).set()
    await eventually(lambda: len(workshop.started) == 3)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert sorted(workshop.cancelled) == [1, 2]
    assert short(calls.results) == [("c0", "ok"), ("c1", "unknown"), ("c2", "unknown"), ("c3", "skipped")]
    assert "may have run" in calls.results[1].content


async def test_nothing_has_run_before_run(workshop: Workshop) -> None:
    """Calls that were never run have results that say so."""
    calls = ToolCalls(calls_of(2), by_name(workshop.tool()), max_result_chars=100)

    assert short(calls.results) == [("c0", "skipped"), ("c1", "skipped")]


async def test_no_calls_are_no_results() -> None:
    """An iteration without tool calls has no results."""
    calls = ToolCalls([], {}, max_result_chars=100)
    await calls.run(concurrency=1, skip=asyncio.Event())

    assert calls.results == []


async def test_unknown_tool_names_the_known_ones(workshop: Workshop) -> None:
    """A call of a tool that does not exist fails with the names of those that do."""
    result = await run_one(ToolCall(call_id="c", name="wrok", arguments="{}"), workshop.tool())

    assert (result.outcome, result.content) == (
        ToolOutcome.FAILED,
        "There is no tool 'wrok'. The tools are: work.",
    )


async def test_wrong_arguments_are_explained(workshop: Workshop) -> None:
    """Arguments that do not fit fail with a sentence for the LLM, and the tool does not run."""
    result = await run_one(ToolCall(call_id="c", name="work", arguments='{"m": 1}'), workshop.tool())

    assert result.outcome is ToolOutcome.FAILED
    assert result.content.startswith("Wrong arguments for work: n: Field required")
    assert workshop.started == []


@pytest.mark.parametrize(
    ("raises", "content"),
    [
        (lambda: UsageError("send less"), "send less"),
        (lambda: StepFailed("no disk"), "no disk"),
        (lambda: ValueError("odd"), "The tool failed: ValueError('odd')"),
    ],
)
async def test_exception_is_a_result(raises: Callable[[], Exception], content: str) -> None:
    """What a tool raises is a failed result with its text, not the end of the turn."""
    result = await run_one(ToolCall(call_id="c", name="work", arguments='{"n": 1}'), failing(raises))

    assert (result.outcome, result.content) == (ToolOutcome.FAILED, content)


async def test_failure_of_one_leaves_the_others(workshop: Workshop) -> None:
    """A call that fails does not end those beside it."""
    calls = ToolCalls(
        [ToolCall(call_id="x", name="nope", arguments="{}"), *calls_of(1)], by_name(workshop.tool()), max_result_chars=9
    )
    workshop.gate(0).set()
    await calls.run(concurrency=2, skip=asyncio.Event())

    assert short(calls.results) == [("x", "failed"), ("c0", "ok")]


async def test_long_result_is_cut(workshop: Workshop) -> None:
    """A result over the limit is cut, and says how long it was."""
    workshop.gate(0).set()
    result = await run_one(calls_of(1)[0], workshop.tool(), limit=4)

    assert result.content == "resu\n[cut off: 8 characters]"


async def test_progress_is_that_of_its_call() -> None:
    """Each call of a tool tells how far it is under its own id, also where calls run side by side."""
    told: list[tuple[str, str]] = []

    @tool
    async def climb(n: int) -> str:
        """Climb."""
        tell = progress()
        await asyncio.sleep(0)
        tell(f"step {n}")
        return "up"

    calls = [ToolCall(call_id=f"c{n}", name="climb", arguments=f'{{"n": {n}}}') for n in range(3)]
    tools = ToolCalls(
        calls, by_name(climb), max_result_chars=100, progress=lambda call_id, text: told.append((call_id, text))
    )
    await tools.run(concurrency=3, skip=asyncio.Event())
    assert told == [("c0", "step 0"), ("c1", "step 1"), ("c2", "step 2")]
    progress()("nobody hears this")


async def test_each_call_is_told_to_begin_and_to_end() -> None:
    """Of a call that runs its beginning and its result are told; of a cancelled one that it may have run."""
    told: list[ToolCall | ToolItem] = []
    workshop = Workshop()
    calls = calls_of(2)
    running = ToolCalls(calls, by_name(workshop.tool()), max_result_chars=100, tell=told.append)
    task = asyncio.create_task(running.run(concurrency=2, skip=asyncio.Event()))
    await eventually(lambda: len(workshop.started) == 2)
    workshop.gate(0).set()
    await eventually(lambda: workshop.ended == [0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told[:2] == calls
    assert short([item for item in told if isinstance(item, ToolItem)]) == [("c0", "ok"), ("c1", "unknown")]


async def test_a_call_that_is_not_parallel_runs_alone() -> None:
    """A call of a tool with `parallel=False` starts when those before it have ended, and those behind it wait."""
    running: list[str] = []
    beside: dict[str, list[str]] = {}

    async def note(name: str) -> None:
        running.append(name)
        for _ in range(5):
            await asyncio.sleep(0)
            beside.setdefault(name, []).extend(running)
        running.remove(name)

    @tool(parallel=False)
    async def alone(n: int) -> str:
        """Work alone."""
        await note(f"alone {n}")
        return "done"

    @tool
    async def together(n: int) -> str:
        """Work beside others."""
        await note(f"together {n}")
        return "done"

    names = ["together", "together", "alone", "alone", "together", "together"]
    calls = [ToolCall(call_id=f"c{n}", name=name, arguments=f'{{"n": {n}}}') for n, name in enumerate(names)]
    tools = ToolCalls(calls, by_name(alone, together), max_result_chars=100)
    await tools.run(concurrency=3, skip=asyncio.Event())

    assert [outcome for _, outcome in short(tools.results)] == ["ok"] * 6
    assert {name: set(others) for name, others in beside.items() if name.startswith("alone")} == {
        "alone 2": {"alone 2"},
        "alone 3": {"alone 3"},
    }
    assert set(beside["together 0"]) == {"together 0", "together 1"}


async def test_a_call_that_took_too_long_may_have_run() -> None:
    """The result of a call that its timeout ended is unknown."""

    @tool(timeout=timedelta(milliseconds=10))
    async def work(n: int) -> str:
        """Work for ever."""
        await asyncio.Event().wait()
        return str(n)

    result = await run_one(calls_of(1)[0], work)
    assert result.outcome is ToolOutcome.UNKNOWN
    assert "may have run" in result.content
