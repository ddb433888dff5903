"""`agent.step` on a real server: every parameter, and everything that can go wrong with a function."""

import re
from collections import Counter
from pathlib import Path

from tests.integration.background.conftest import Agents
from tests.support.eventually import eventually


async def step(agents: Agents, what: str) -> object:
    return await agents.run("Stepper", {"what": what, "text": agents.agent_id})


async def test_input_and_result_are_what_the_hints_say(agents: Agents) -> None:
    """A function gets its pydantic model, and the agent gets the one it returns."""
    assert await step(agents, "model") == ["Note", agents.agent_id]
    assert agents.actions == ["start", "end"]


async def test_plain_function_runs_in_a_thread(agents: Agents) -> None:
    """A plain function without a decorator is a step too."""
    assert await step(agents, "thread") == agents.agent_id.upper()


async def test_failing_function_is_retried(agents: Agents) -> None:
    """A function that raises is tried again, as the policy says, until it succeeds."""
    assert await step(agents, "retried") == 3


async def test_retries_end(agents: Agents) -> None:
    """After the last attempt the step raises with the text of the function; both spellings of the policy work."""
    assert await step(agents, "gives_up") == "StepFailed: Function 'broken' failed: ValueError: it is broken"
    assert agents.actions == ["broken"] * 2


async def test_non_retryable_error(agents: Agents) -> None:
    """NonRetryableError, and the types that the policy names, are not tried again."""
    assert (
        await step(agents, "non_retryable")
        == "StepFailed: Function 'broken' failed: NonRetryableError: it is broken for good"
    )
    assert agents.actions == ["broken"]


async def test_non_retryable_type(agents: Agents) -> None:
    """An error type that the policy names is not tried again."""
    assert await step(agents, "non_retryable_type") == "StepFailed: Function 'broken' failed: ValueError: it is broken"
    assert agents.actions == ["broken"]


async def test_start_to_close(agents: Agents) -> None:
    """An attempt that takes too long is aborted; it counts as a failed one."""
    assert await step(agents, "times_out") == "StepFailed: Function 'note' failed: TimeoutError: no result after 0.05 s"
    assert agents.actions == ["start", "abort"] * 2


async def test_schedule_to_close(agents: Agents) -> None:
    """All attempts together may take no longer than schedule_to_close."""
    assert (
        await step(agents, "all_attempts_time_out")
        == "StepFailed: Function 'note' failed: no result within 0.2 s of all attempts"
    )


async def test_schedule_to_start(agents: Agents, tmp_path: Path) -> None:
    """A task queue whose service is down is an error after schedule_to_start, not an endless wait."""
    away = Agents(agents.server, tmp_path, "away")
    await away.start()
    await agents.server.register(away.url)
    away.process.kill9()
    expected = "StepFailed: Function 'note' was not started within 0.2 s: does the service of task queue 'away' run?"
    assert await step(agents, "no_worker") == expected
    await eventually(lambda: "waits for function 'note' of task queue 'away', whose service is down" in agents.log())


async def test_unknown_task_queue(agents: Agents) -> None:
    """A task queue that nobody serves is an error within seconds."""
    expected = "StepFailed: Task queue 'nobody' is not served: start_service(functions=[…], task_queue='nobody')"
    assert await step(agents, "no_queue") == expected


async def test_schedule_to_start_is_met(agents: Agents) -> None:
    """A function that starts in time is not bothered by schedule_to_start."""
    assert await step(agents, "worker") == agents.agent_id


async def test_heartbeat_is_missed(agents: Agents) -> None:
    """A function that falls silent is aborted and tried again."""
    assert (
        await step(agents, "misses_heartbeat")
        == "StepFailed: Function 'silent' failed: TimeoutError: no heartbeat for 0.1 s"
    )
    assert agents.actions == ["silent"] * 2


async def test_heartbeat(agents: Agents) -> None:
    """A function that beats may take longer than its heartbeat timeout."""
    assert await step(agents, "beats") == agents.agent_id


async def test_unknown_function(agents: Agents) -> None:
    """A function that is not served is an error within seconds, which names those that are."""
    result = await step(agents, "unknown")
    assert re.match(r"StepFailed: Function 'unserved' is not served on task queue 'restack' \(served: ", str(result))


async def test_bad_input(agents: Agents) -> None:
    """Input that does not fit the function is an error before it is called."""
    result = str(await step(agents, "bad_input"))
    assert result.startswith("UsageError: Bad input for function 'note'. given.text: Field required")


async def test_gather(agents: Agents) -> None:
    """Steps run side by side under `asyncio.gather`, each once."""
    assert await step(agents, "gathered") == [f"{agents.agent_id} {n}" for n in range(4)]
    assert set(Counter(agents.actions).values()) == {1}


async def test_cancelled_step(agents: Agents) -> None:
    """Cancelling the wait for a step aborts the function; under always-replay it may win the race."""
    assert await step(agents, "cancelled_step") == "timeout"
    assert agents.actions == ["start", "end" if agents.server.always_replay else "abort"]


async def test_condition_times_out(agents: Agents) -> None:
    """A condition with a timeout raises TimeoutError."""
    assert await step(agents, "condition_times_out") == "TimeoutError: "


async def test_threads_are_refused(agents: Agents) -> None:
    """What a replay cannot repeat is an error that names the way out."""
    assert str(await step(agents, "forbidden")).endswith("Do this inside a step.")


async def test_ids(agents: Agents) -> None:
    """`uuid` gives a new id each time, and a replay gives the same."""
    ids = await step(agents, "ids")
    assert isinstance(ids, list)
    assert len(set(ids)) == 3


async def test_step_survives_a_crash(agents: Agents) -> None:
    """kill -9 during a step: its result arrives, and a finished function is not run again."""
    await agents.client.schedule_agent("Stepper", agents.agent_id, {"what": "gathered", "text": agents.agent_id})
    await agents.did("start 0")
    await agents.crash()

    assert len(await agents.client.get_agent_result(agents.agent_id)) == 4
    assert all(count <= 2 for count in Counter(agents.actions).values())
