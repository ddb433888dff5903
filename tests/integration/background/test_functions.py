"""Functions on a real server: those that block, those that fail oddly, and what their callers hear of it."""

import time

from tests.integration.background.conftest import Agents
from tests.integration.background.test_steps import step
from tests.support.eventually import eventually


async def test_blocking_function_times_out(agents: Agents) -> None:
    """An `async def` that blocks its loop times out as often as it may be tried, long before it returns."""
    begun = time.monotonic()
    expected = "StepFailed: Function 'blocking' failed: TimeoutError: no result after 0.3 s"
    assert await step(agents, "blocks") == expected
    assert time.monotonic() - begun < 4
    assert agents.actions == ["block"] * 2
    line = "has timed out, but cannot be stopped: its thread goes on until it returns"
    await eventually(lambda: agents.log().count(line) == 2)


async def test_blocking_function_blocks_nobody(agents: Agents) -> None:
    """While an `async def` blocks its loop, other functions begin and end, and clients are answered."""
    await agents.client.schedule_agent("Stepper", agents.agent_id, {"what": "blocks_for_long", "text": agents.agent_id})
    await agents.did("block")
    other = f"{agents.agent_id}-other"
    await agents.client.schedule_agent("Stepper", other, {"what": "model", "text": other})
    assert await agents.client.get_agent_result(other) == ["Note", other]
    assert "unblock" not in agents.actions
    assert await agents.client.get_agent_result(agents.agent_id) is None


async def test_heartbeats_of_a_blocking_function_are_watched(agents: Agents) -> None:
    """An `async def` that blocks its loop without a heartbeat is given up."""
    expected = "StepFailed: Function 'silent_blocking' failed: TimeoutError: no heartbeat for 0.3 s"
    assert await step(agents, "blocks_and_misses_heartbeat") == expected


async def test_attributes_of_foreign_errors_say_nothing(agents: Agents) -> None:
    """An error of another library is tried again, whatever its `retryable`, `status` and `retry_after_s` are."""
    assert await step(agents, "foreign") == 2


async def test_causes_are_told(agents: Agents) -> None:
    """The agent hears the function, type and text of an error, of those in its group, and of its cause; so does the
    log, with a traceback."""
    text = (
        "Function 'caused' failed: ExceptionGroup: both (2 sub-exceptions) [KeyError: 'a'; "
        f"ValueError: bad \N{REPLACEMENT CHARACTER} {agents.agent_id}] "
        "(caused by ConnectionRefusedError: port 1 is closed)"
    )
    assert await step(agents, "caused") == f"StepFailed: {text}"
    assert f"Attempt 1 of function 'caused' for agent {agents.agent_id} failed" in agents.log()
    assert "raise ExceptionGroup" in agents.process.log()


async def test_null_against_the_annotation(agents: Agents) -> None:
    """A function that returns None against its annotation has had its effect: the agent gets None, the log a line."""
    assert await step(agents, "nothing") == [None, None]
    assert agents.actions == ["nothing"] * 2
    assert agents.process.log().count("The result of function 'returns_nothing' is None, against its annotation") == 1


async def test_half_characters_in_a_result(agents: Agents) -> None:
    """Surrogate halves of a result are joined, and lone ones replaced: no JSON carries them."""
    assert await step(agents, "half_characters") == f"{agents.agent_id} \U0001f600 \N{REPLACEMENT CHARACTER}"


async def test_function_that_cancels_itself(agents: Agents) -> None:
    """A CancelledError that nobody asked for is a failed attempt."""
    assert str(await step(agents, "cancels_itself")).endswith("RuntimeError: it was cancelled from inside")
