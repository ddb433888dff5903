"""The bench's own sums: ratios and bars, the edits to the original example, and what is said to all contenders."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseFunctionToolCall

from app.errors import UsageError
from tests.bench import bars, side_by_side
from tests.bench.compare import FLOOR, OTHER, OURS, Measured, alternate, comparisons
from tests.bench.figures import Bar, Comparison, Figure, comparison_table
from tests.bench.messages import answer_to, message, plan_for
from tests.bench.reference import EDITS, FOLDER, Edit, copy_edited, edited, example_in
from tests.bench.usage import cpu_seconds
from tests.support.llm_server import FOR_EVER, Call, LLMRequest, LLMServer, Plan

EDIT = Edit("app/agent.py", "    port = 9080", "    port = free()")


def figures(*values: float) -> list[Figure]:
    return [Figure("a turn", value, "ms") for value in values]


def measured(other: Sequence[float], ours: Sequence[float], floor: Sequence[float] = ()) -> Measured:
    by_name = {OTHER: other, OURS: ours, FLOOR: floor}
    return {name: {"a turn": figures(*values)} for name, values in by_name.items() if values}


def request(text: str, *, path: str = "/v1/chat/completions") -> LLMRequest:
    key = "input" if path.endswith("/responses") else "messages"
    return LLMRequest(0, {key: [{"role": "user", "content": text}]}, {}, 0.0, path)


# Ratios


def test_ratio_is_of_neighbours_in_time() -> None:
    """A machine that gets ten times slower between rounds does not change the ratio."""
    [found] = comparisons(measured([10, 100, 1000], [9, 90, 900]))
    assert (found.other, found.ours) == (100, 90)
    assert found.ratio == pytest.approx(0.9)


def test_one_bad_round_does_not_count() -> None:
    """The ratio is the median of the rounds'."""
    [found] = comparisons(measured([10, 10, 10], [9, 50, 9]))
    assert found.ratio == pytest.approx(0.9)


def test_rounds_that_are_missing_are_a_fault() -> None:
    """Contenders with different numbers of rounds are not compared."""
    with pytest.raises(ValueError, match="argument 2 is longer"):
        comparisons(measured([10, 10], [9]))


def test_floor_stands_beside_what_it_has() -> None:
    """The floor has a column where it was measured, and none where it was not."""
    with_floor = comparison_table(comparisons(measured([10], [9], [5])), "the original")
    assert with_floor.splitlines()[-1] == "| a turn | 10.0 ms | 9.0 ms | 0.90 |  | 5.0 ms |"
    without = comparison_table(comparisons(measured([10], [9])), "the original")
    assert without.splitlines()[-1] == "| a turn | 10.0 ms | 9.0 ms | 0.90 |  |"


@pytest.mark.parametrize(
    ("bar", "value", "holds"),
    [
        (Bar(at_most=1.0), 1.0, True),
        (Bar(at_most=1.0), 1.01, False),
        (Bar(at_least=1.15), 1.15, True),
        (Bar(at_least=1.15), 1.14, False),
        (Bar(), 99, True),
    ],
)
def test_bars(bar: Bar, value: float, holds: bool) -> None:
    """The limit itself is good enough; without a bar everything is."""
    assert bar.holds(value) is holds


def test_missed_bars_show() -> None:
    """A comparison holds by its ratio and by our own value, and the table marks the one that is missed."""
    found = Comparison("a turn", "ms", other=10, ours=9, ratio=0.9)
    assert found.judged(Bar(at_most=0.95), Bar(at_most=9)).holds
    late = found.judged(Bar(at_most=0.8), None)
    assert not late.holds
    assert "| 9.0 ms | 0.90 ✗ | ≤ 0.8 |" in comparison_table([late], "the original")
    heavy = found.judged(None, Bar(at_most=8))
    assert not heavy.holds
    assert "| 9.0 ms ✗ | 0.90 | ≤ 8 ms |" in comparison_table([heavy], "the original")


def test_bars_are_of_figures_that_are_measured() -> None:
    """No bar hangs on a name that no part measures."""
    known = {value for value in vars(side_by_side).values() if isinstance(value, str)}
    known |= {side_by_side.journaled(turns) for turns in side_by_side.CONTEXT_TURNS}
    for by_server in bars.RATIOS.values():
        assert by_server.keys() <= known
    assert bars.OWN.keys() <= known


async def test_contenders_take_turns() -> None:
    """Who is first changes with the round; what does not vary is measured once, and of the floor only what it has."""
    calls: list[tuple[str, str]] = []

    def part(title: str, **kind: bool) -> side_by_side.Part:
        async def measure(contender: object) -> list[Figure]:
            calls.append((title, str(contender)))
            return figures(1)

        return side_by_side.Part(measure, **kind)

    parts = {"turns": part("turns"), "llm": part("llm", of_floor=False, once=True)}
    contenders = {name: name for name in (OTHER, OURS, FLOOR)}
    found = await alternate(contenders, parts, 2, lambda _: None)  # type: ignore[arg-type]  # names do for contenders
    assert calls == [
        ("turns", OTHER),
        ("turns", OURS),
        ("turns", FLOOR),
        ("llm", OTHER),
        ("llm", OURS),
        ("turns", FLOOR),
        ("turns", OURS),
        ("turns", OTHER),
    ]
    assert len(found[OURS]["a turn"]) == 3
    assert len(found[FLOOR]["a turn"]) == 2


# The original example


def test_edit_changes_one_line() -> None:
    """The line is replaced, the rest stays."""
    assert edited("def f():\n    port = 9080\n    go()\n", EDIT) == "def f():\n    port = free()\n    go()\n"


@pytest.mark.parametrize("text", ["", "port = 9080\n", "    port = 9080  # x\n", "    port = 9080\n    port = 9080\n"])
def test_edit_is_refused_where_its_line_is_not_there_once(text: str) -> None:
    """Another version of the example is not measured as if it were the one that is meant; the sentence names it."""
    with pytest.raises(UsageError, match=r"app/agent\.py of the reference has \d lines 'port = 9080'.*8457cea"):
        edited(text, EDIT)


@pytest.mark.parametrize("inside", [FOLDER, Path()], ids=["the repository", "the folder"])
def test_example_is_found_and_its_copy_edited(tmp_path: Path, inside: Path) -> None:
    """REFERENCE is the repository or the folder of the example; the checkout itself stays as it is."""
    checkout, copy = tmp_path / "checkout", tmp_path / "copy"
    files = {edit.file for edit in EDITS}
    for file in files:
        path = checkout / inside / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{edit.line}\n" for edit in EDITS if edit.file == file))
    copy_edited(example_in(checkout), copy)
    for edit in EDITS:
        assert edit.instead in (copy / edit.file).read_text()
        assert edit.line in (checkout / inside / edit.file).read_text().splitlines()


def test_wrong_reference_is_refused(tmp_path: Path) -> None:
    """A folder without the example is refused, with what it should be."""
    with pytest.raises(UsageError, match="make it a checkout of restatedev/ai-examples at commit 8457cea"):
        example_in(tmp_path)


# What is said


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_llm_obeys_the_last_message(path: str) -> None:
    """The reply is as long as the message asks, in so many pieces, and the one that the client waits for."""
    text = message("m-1", chars=50_000, reply_chars=2500, chunks=500)
    plan = plan_for(request(f"something before\n\n{text}", path=path))
    assert len(text) == 50_000
    assert len(plan.text) == 500
    assert "".join(plan.text) == answer_to(text)
    assert len(answer_to(text)) == 2500


def test_slow_message_has_no_answer_and_the_next_one_does() -> None:
    """A message that interrupts a slow one is answered, also where both stand in one text."""
    slow, following = message("m-1", slow=True), message("m-2")
    assert plan_for(request(slow)).delay_s == FOR_EVER
    assert plan_for(request(f"{slow}\n\n{following}")).delay_s == 0


async def test_responses_api_is_answered_with_one_document(server: LLMServer) -> None:
    """The client of the Responses API reads the text, the calls and the usage; the request is logged as any other."""
    server.script = lambda _: Plan(text=("Hello", " there."), calls=[Call()])
    async with AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0) as client:
        response = await client.responses.create(model="tiny", input=[{"role": "user", "content": "hi"}])
    assert response.output_text == "Hello there."
    assert isinstance(response.output[1], ResponseFunctionToolCall)
    assert response.output[1].arguments == Call().arguments
    assert response.usage is not None
    assert response.usage.total_tokens == 15
    assert server.requests[0].user_texts == ["hi"]
    await server.until(lambda: server.requests[0].finished_at is not None)


async def test_abort_of_the_responses_api_is_logged(server: LLMServer) -> None:
    """A client that goes away before the document is seen, as it is with a stream."""
    server.script = lambda _: Plan(delay_s=FOR_EVER)
    async with AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0) as client:
        asking = asyncio.create_task(client.responses.create(model="tiny", input="hi"))
        await server.until(lambda: len(server.requests) == 1)
        asking.cancel()
        await server.until(lambda: server.requests[0].disconnected_at is not None)


def test_usage_is_of_this_process() -> None:
    """What /proc says of the CPU of this process is at least what Python says; its ticks are of 10 ms."""
    before = time.process_time()
    assert cpu_seconds(os.getpid()) >= before - 0.03
