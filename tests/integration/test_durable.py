"""The durable loop on a real server, normally and where every wait is a replay: results, and what really ran.

Under always-replay the server closes its half of the stream at once: timers, signals and cancellations reach a handler
only after its running actions have ended, so a completion wins every race.
"""

import asyncio
import time
from collections import Counter

import pytest

from app.turns.calls.attempts import WORD_S
from app.turns.link import UNHEARD_S
from tests.support.eventually import eventually
from tests.support.probe import Probe


async def test_gather_runs_each_action_once(probe: Probe) -> None:
    """`gather` of steps and sleeps gives the results in order, each action having run exactly once."""
    label = probe.label

    assert await probe.result("gather_steps") == [f"{label} first {n}, {label} second {n}" for n in range(5)]

    expected = [f"{what} {which} {n}" for n in range(5) for which in ("first", "second") for what in ("start", "end")]
    assert Counter(probe.actions) == Counter(expected)


async def test_order_of_completion_is_journaled(probe: Probe) -> None:
    """The order in which steps complete is what a TaskGroup sees, in a replay too."""
    order = await probe.result("order_of_completion")

    assert sorted(order) == ["0", "1", "2", "3", "4"]
    ends = [line.removeprefix("end work ") for line in probe.actions if line.startswith("end work")]
    assert order[0] == ends[0] == "0"
    assert set(Counter(probe.actions).values()) == {1}


async def test_queue_and_lock(probe: Probe) -> None:
    """`asyncio.Queue` and `asyncio.Lock` work across tasks."""
    assert await probe.result("queue_and_lock") == [0, 1, 2, 3, 4, 5]
    assert set(Counter(probe.actions).values()) == {1}


async def test_timeout_aborts_the_action(probe: Probe) -> None:
    """`asyncio.timeout` aborts the action it is around; under always-replay the action's completion may win."""
    result = await probe.result("timeout_aborts")

    if probe.server.always_replay:
        assert (result, probe.actions) in (
            ("no timeout", ["start slow", "end slow"]),
            ("timeout after 0.2", ["start slow", "end slow"]),
        )
    else:
        assert result == "timeout after 0.2"
        assert [line.split()[0] for line in probe.actions] == ["start", "abort"]


async def test_cancellation_runs_finally_blocks(probe: Probe) -> None:
    """A cancelled handler's `finally` block still takes a durable step; its caller sees 409."""
    invocation_id = await probe.send("cancelled_cleans_up")
    await probe.did("start work")

    await probe.server.cancel(invocation_id)

    status, _ = await probe.outcome(invocation_id)
    assert probe.actions[-2:] == ["start cleanup", "end cleanup"]
    assert probe.count("start work") == 1
    if probe.server.always_replay:
        assert (status, probe.count("end work")) in ((409, 1), (200, 1))
    else:
        assert status == 409
        assert [line.split()[:2] for line in probe.actions][1] == ["abort", "work"]


async def test_cancellation_reaches_every_task(probe: Probe) -> None:
    """A cancellation aborts every running action, each task undoes, and the handler may still answer."""
    invocation_id = await probe.send("cancelled_answers")
    for n in range(4):
        await probe.did(f"start work {n}")

    await probe.server.cancel(invocation_id)

    status, result = await probe.outcome(invocation_id)
    started = Counter(line for line in probe.actions if not line.startswith("abort"))
    assert [started[f"end undo {n}"] for n in range(4)] == [1, 1, 1, 1]
    assert (status, result) == (200, "cancelled") or probe.server.always_replay
    if not probe.server.always_replay:
        aborted = [line.rpartition(" ")[0] for line in probe.actions if line.startswith("abort")]
        assert sorted(aborted) == [f"abort work {n}" for n in range(4)]
        times = [float(line.rpartition(" ")[2]) for line in probe.actions if line.startswith("abort")]
        assert max(times) - min(times) < 0.5


async def test_salvage_keeps_the_partial_result(probe: Probe) -> None:
    """A cancelled step with `salvage` returns what its action had; under always-replay that is all of it."""
    invocation_id = await probe.send("salvage")
    await probe.did("word")

    await probe.server.cancel(invocation_id)

    status, result = await probe.outcome(invocation_id)
    assert status == 200
    words = result.removeprefix("partial: ").split()
    assert set(words) == {"word"}
    assert len(words) == probe.count("word")
    assert len(words) < 200 or probe.server.always_replay


async def test_result_ahead_of_its_record_is_what_a_replay_finds(probe: Probe) -> None:
    """What follows from a result that was not recorded yet fits the journal: the step has run once."""
    invocation_id = await probe.send("ends_ahead")
    await probe.signal(invocation_id, "meanwhile")

    status, result = await probe.outcome(invocation_id)

    assert status == 200, result
    assert probe.count("last") == 1
    assert probe.count("attempt") == 2
    assert await eventually(lambda: [line for line in probe.actions if "sent" in line]) == [f"sent {result}"]


@pytest.mark.usefixtures("application")
async def test_cancellation_that_was_recorded_before_an_answer_comes_behind_it(probe: Probe) -> None:
    """An attempt that went on by an answer before it heard of its cancellation is repeated in that order."""
    invocation_id = await probe.send("answered_ahead")
    await probe.did("blocks")
    await probe.server.cancel(invocation_id)
    query = f"SELECT index FROM sys_journal WHERE id = '{invocation_id}' AND entry_type LIKE '%Signal%'"  # noqa: S608 - ours
    await eventually(lambda: probe.server.query(query))
    probe.note("goes on")

    status, result = await probe.outcome(invocation_id)

    assert (status, result) == (200, "the answer, cancelled behind its end")
    assert (probe.count("blocks"), probe.count("attempt")) == (1, 2)


@pytest.mark.usefixtures("application")
async def test_end_whose_answer_is_lost_is_reported_again(probe: Probe) -> None:
    """A run whose chat was killed before it had answered does not wait for ever."""
    began = time.monotonic()

    assert await probe.result("unheard_end") == "withdrawn"

    assert UNHEARD_S <= time.monotonic() - began < UNHEARD_S + 10


async def test_call_that_was_ended_in_vain_is_not_waited_for_in_vain(probe: Probe) -> None:
    """A call that was to be steered, by a ring that never came, ends with what had arrived, and the turn goes on."""
    began = time.monotonic()

    assert await probe.result("foreseen_steering") == "so far, steering"

    assert WORD_S <= time.monotonic() - began < WORD_S + 5
    assert probe.count("aborted") == 1


async def test_sibling_aborts_a_step(probe: Probe) -> None:
    """A task that cancels a sibling's step gets what it salvaged, and goes on; a completion that won stays whole."""
    result = await probe.result("steered")

    whole = "whole" if probe.server.always_replay else "partial"
    assert result == f"{whole}, {probe.label} next"
    assert probe.actions == ["start next", "end next"]


async def test_failed_action_is_retried(probe: Probe) -> None:
    """A step runs its action again, as its policy says, until it succeeds."""
    assert await probe.result("retries") == "attempt 3"
    assert probe.count("attempt") == 3


async def test_step_gives_up(probe: Probe) -> None:
    """After the last attempt a step fails with the type and the text of the exception."""
    assert await probe.result("gives_up") == "ValueError: it is broken"
    assert len(probe.actions) == 2


async def test_step_times_out(probe: Probe) -> None:
    """An attempt that takes too long is aborted and fails with a sentence."""
    assert await probe.result("step_times_out") == "TimeoutError: no result after 0.05 s"
    assert [line.split()[0] for line in probe.actions] == ["start", "abort"]


async def test_result_that_is_not_json_fails(probe: Probe) -> None:
    """A result that JSON cannot carry fails the step, and no attempt of the handler is retried for it."""
    assert await probe.result("not_json") == "PydanticSerializationError"


async def test_forbidden_calls_name_the_way_out(probe: Probe) -> None:
    """Threads and sockets in durable code raise an error that says where to do it instead."""
    texts = await probe.result("forbidden")

    assert len(texts) == 2
    assert all(text.endswith("Do this inside a step.") for text in texts)


async def test_deadlock_is_reported(probe: Probe) -> None:
    """Waiting for what no durable future can complete is an error that names who waits, not a hang."""
    status, message = await probe.call("deadlock")

    assert status == 500
    assert message == "deadlock waits for something that no durable future can complete"


async def test_suspension_wins_over_every_exception(probe: Probe) -> None:
    """Whatever a task raises when its attempt ends, a suspension stays one: the handler goes on after it."""
    expected = ["group", "awaits cancelled", "turns into CancelledError", "turns into SystemExit"]
    assert await probe.result("ends_badly") == expected
    assert probe.actions == []


async def test_sets_have_the_order_of_the_journal(probe: Probe) -> None:
    """`as_completed` of coroutines and `wait` with a set of tasks replay: each action ran once."""
    order = await probe.result("completes_in_order")

    assert sorted(order) == sorted(f"{probe.label} work {n}" for n in range(12))
    assert set(Counter(probe.actions).values()) == {1}


async def test_timers_of_one_instant_fire_together(probe: Probe) -> None:
    """Tasks that sleep for the same time go on together, replay after replay."""
    seen = await probe.result("timers_together")

    assert Counter(seen) == {f"{probe.label} tick {n}": 3 for n in range(4)}
    assert set(Counter(probe.actions).values()) == {3}


async def test_open_generator_is_closed_when_main_ends(probe: Probe) -> None:
    """An async generator that main leaves open, here in a reference cycle, takes its steps once main has ended."""
    assert await probe.result("generators_are_closed") == "main ends"
    assert probe.actions == ["start main", "end main", "start closed", "end closed"]


async def test_wait_for_ever_can_be_cancelled(probe: Probe) -> None:
    """A wait for infinity is a wait of the engine, which a cancellation ends."""
    invocation_id = await probe.send("waits_for_ever")
    await probe.did("waits")

    await probe.server.cancel(invocation_id)

    assert await probe.outcome(invocation_id) == (200, "cancelled")


async def test_busy_wait_is_reported(probe: Probe) -> None:
    """A busy wait ends with a sentence that names who waits, and the service goes on."""
    status, message = await probe.call("waits_busily")

    assert status == 500
    assert message.startswith("waits_busily runs again and again without waiting for anything durable")


async def test_what_utf8_cannot_encode_is_recorded(probe: Probe) -> None:
    """Lone surrogates in results and errors, and errors that cannot say what they are, end in a record, not a hang."""
    assert await asyncio.wait_for(probe.result("unspeakable"), 20) == [
        {"k\ufffd": ["\U0001f642", "\ufffd"]},
        "ValueError: bad \ufffd",
        "TimeoutError: \ufffd",
        "Wordless: Wordless without wor",
        "Fehl?r?: xxxxxxxxxxxxxxxxxxxx",
    ]


async def test_exception_that_nobody_awaits_is_logged(probe: Probe) -> None:
    """The exception of a task that nobody awaits is logged, and the handler goes on."""
    assert await probe.result("orphan_fails") == "main is fine"

    # What happens between the last journal entry and a suspension happens again after it, logging included.
    times = probe.log().count(f"ValueError: nobody awaits {probe.label}")
    assert times == 1 or (probe.server.always_replay and times == 2)
    assert probe.actions == ["start orphan", "end orphan"]


async def test_tasks_left_behind_are_cancelled(probe: Probe) -> None:
    """Tasks that are left when the main coroutine returns are cancelled, and their `finally` blocks run."""
    assert await probe.result("leftover_tasks_end") == "done, leftover waiting"
    assert probe.actions == ["start goodbye", "end goodbye"]


async def test_conditions(probe: Probe) -> None:
    """Conditions are met as soon as another task makes them true, and time out; replays do not log again."""
    assert await probe.result("conditions") == [1, 3, 5, -1]
    assert probe.log().count(f"conditions of {probe.label} are met") == 1


async def test_signals_are_a_durable_queue(probe: Probe) -> None:
    """Signals of one name arrive in order, also those that come before anybody waits."""
    invocation_id = await probe.send("waits_for_signal")
    for value in ("one", "two", "three"):
        await probe.signal(invocation_id, value)

    assert await probe.outcome(invocation_id) == (200, ["one", "two", "three"])
    seen = [line for line in probe.actions if line.startswith("start")]
    assert seen == ["start one", "start two", "start three"]


# kill -9


async def test_gather_survives_a_crash(probe: Probe) -> None:
    """kill -9 in the middle of `gather`: the same result, and no finished action ran again."""
    invocation_id = await probe.send("gather_steps")
    await probe.did("end first")

    probe.kill9()
    await probe.start()

    label = probe.label
    expected = [f"{label} first {n}, {label} second {n}" for n in range(5)]
    assert await probe.outcome(invocation_id) == (200, expected)
    require_finished_actions_ran_once(probe)


async def test_order_of_completion_survives_crashes(probe: Probe) -> None:
    """kill -9 while steps complete in some order: the order that was journaled stays."""
    invocation_id = await probe.send("order_of_completion")
    await probe.did("end note")

    probe.kill9()
    await probe.start()

    status, order = await probe.outcome(invocation_id)
    assert (status, sorted(order)) == (200, ["0", "1", "2", "3", "4"])
    assert order[0] == "0"
    require_finished_actions_ran_once(probe)


async def test_signals_survive_a_crash(probe: Probe) -> None:
    """Signals that arrive while the service is down are received after its restart, each once and in order."""
    invocation_id = await probe.send("waits_for_signal")
    await probe.signal(invocation_id, "one")
    await probe.did("end one")

    probe.kill9()
    # The handler that forwards a signal is down as well: it is sent by the ingress and runs when the service is back.
    second = await probe.send_signal_later(invocation_id, "two")
    await probe.start()
    await probe.outcome(second)
    await probe.signal(invocation_id, "three")

    assert await probe.outcome(invocation_id) == (200, ["one", "two", "three"])
    require_finished_actions_ran_once(probe)


def require_finished_actions_ran_once(probe: Probe) -> None:
    """An action whose end was noted may run again only if the crash came before its record: at most one of them."""
    ends = Counter(line for line in probe.actions if line.startswith("end"))
    again = {line: count for line, count in ends.items() if count > 1}
    assert len(again) <= 1, again
    assert all(count <= 2 for count in again.values()), again
