"""Turns that are rolled back: what their tools have done is undone, and the chat is told of the rest."""

import json
from typing import Any

import pytest

from tests.integration.acting.conftest import Actor
from tests.integration.acting.test_options import asks
from tests.support.eventually import eventually
from tests.support.llm_server import FOR_EVER, Call, LLMRequest, Plan


def booking(actor: Actor, what: str) -> Call:
    return Call("book", json.dumps({"what": what, "chat": actor.key}), f"call_{what}")


async def booked(actor: Actor, *iterations: list[Call]) -> None:
    """Open a turn that has made these calls, iteration by iteration, and waits for the LLM."""

    def plan(request: LLMRequest) -> Plan:
        texts = request.user_texts
        if "next" in texts[-1]:
            return Plan(text=["All right."])
        made = sum(message["role"] == "assistant" for message in request.messages)
        return asks(*iterations[made]) if made < len(iterations) else Plan(delay_s=FOR_EVER)

    actor.script_by(plan)
    await actor.say("book it")

    async def made() -> bool:
        recorded = [entry for entry in await actor.entries() if entry["role"] == "tool"]
        return len(recorded) == sum(map(len, iterations))

    await eventually(made)


def cancelled(actor: Actor) -> list[str]:
    """Return what was cancelled, in order."""
    mine = f" {actor.key}"
    found = [line for line in actor.service.ledger() if line.startswith("cancel ") and line.endswith(mine)]
    return [line.removeprefix("cancel ").removesuffix(mine) for line in found]


async def note(actor: Actor) -> str | None:
    """Wait for the end; return what the chat was told of the rollback."""
    lines = await actor.idle()
    assert [status for _, content, status in lines if content == "book it"] == ["rolled_back"]
    return next((content for role, content, _ in lines if role == "system"), None)


async def rolled_back(actor: Actor) -> None:
    await actor.say("next", "ROLLBACK")


async def test_work_is_undone_in_reverse_order(actor: Actor) -> None:
    """ROLLBACK undoes the calls of all iterations, the last first, each once, before the new turn begins."""
    await booked(actor, [booking(actor, "flight")], [booking(actor, "hotel")], [booking(actor, "car")])
    preview = await actor.call("preview_rollback")
    assert [call["call_id"] for call in preview["undone"]] == ["call_car", "call_hotel", "call_flight"]
    assert (preview["turn_id"], preview["irreversible"]) == (1, [])
    await rolled_back(actor)

    assert await note(actor) == "This turn was rolled back. Undone: book; book; book."
    assert cancelled(actor) == ["car", "hotel", "flight"]
    assert (await actor.lines())[-1] == ("assistant", "All right.", "completed")
    assert [message["role"] for message in actor.requests[-1].messages] == ["system", "user"]


async def test_stop_can_roll_back(actor: Actor) -> None:
    """`stop` with `rollback` undoes the work too; without it, it does not, and nobody is told of any."""
    await booked(actor, [booking(actor, "flight")])
    assert (await actor.call("stop", rollback=True))["stopped"]
    assert await note(actor) == "This turn was rolled back. Undone: book."
    assert cancelled(actor) == ["flight"]
    await actor.say("next")
    assert (await actor.idle())[-1] == ("assistant", "All right.", "completed")
    assert [message["role"] for message in actor.requests[-1].messages] == ["system", "user"]


@pytest.mark.parametrize("how", ["INTERRUPT", "stop"])
async def test_an_interrupt_undoes_nothing(actor: Actor, how: str) -> None:
    """INTERRUPT and `stop` keep the work, and the LLM sees it."""
    await booked(actor, [booking(actor, "flight")])
    if how == "stop":
        await actor.call("stop")
    await actor.say("next", "INTERRUPT")
    assert (await actor.idle())[-1] == ("assistant", "All right.", "completed")
    assert cancelled(actor) == []
    assert "tool" in [message["role"] for message in actor.requests[-1].messages]
    assert "system" not in [role for role, _, _ in await actor.lines()]


async def test_what_cannot_be_undone_is_said(actor: Actor) -> None:
    """Calls without a compensation, and those whose compensation keeps failing, are named; the others are undone."""
    small = Call("pay", json.dumps({"amount": 3, "to": actor.key}), "call_pay")
    await booked(actor, [booking(actor, "flight")], [small], [booking(actor, "stuck")], [booking(actor, "shaky")])
    preview = await actor.call("preview_rollback")
    assert [call["name"] for call in preview["irreversible"]] == ["pay"]
    await rolled_back(actor)

    assert await note(actor) == (
        "This turn was rolled back. Undone: book; book. "
        "Not undone: book (its compensation failed: attempt 3); pay (no compensation was made)."
    )
    assert cancelled(actor) == ["shaky"] * 3 + ["stuck"] * 3 + ["flight"]
    assert (await actor.lines())[-1] == ("assistant", "All right.", "completed")


@pytest.mark.parametrize("what", ["service", "server"])
async def test_death_in_the_middle_of_a_rollback(actor: Actor, what: str) -> None:
    """What was undone before the crash is not undone again; the one that ran then runs again; the chat goes on."""
    await booked(actor, [booking(actor, "flight")], [booking(actor, "lasting")], [booking(actor, "car")])
    await rolled_back(actor)
    await eventually(lambda: actor.did(f"begin lasting {actor.key}") == 1)
    died: Any = actor.service if what == "service" else actor.server
    died.kill9()
    await died.start()

    assert await note(actor) == "This turn was rolled back. Undone: book; book; book."
    undone = cancelled(actor)
    assert (undone[0], undone[-1]) == ("car", "flight")
    assert (undone.count("car"), undone.count("flight")) == (1, 1)
    assert set(undone[1:-1]) == {"lasting"}
    assert (await actor.lines())[-1] == ("assistant", "All right.", "completed")


async def test_a_running_call_is_joined_first(actor: Actor) -> None:
    """A call that runs when its turn is rolled back ends first; what it has done in spite of that is undone."""
    actor.script(asks(booking(actor, "slow")), Plan(text=["All right."]))
    await actor.say("book it")
    await eventually(lambda: actor.did(f"booking slow {actor.key}") == 1)
    actor.script(Plan(text=["All right."]))
    await rolled_back(actor)

    assert await note(actor) == "This turn was rolled back. Undone: book."
    assert cancelled(actor) == ["slow"]
    assert (await actor.lines())[-1] == ("assistant", "All right.", "completed")


async def test_messages_and_stop_during_a_rollback(actor: Actor) -> None:
    """What is said while a turn is being undone waits for its end, and ends nothing of it."""
    await booked(actor, [booking(actor, "flight")], [booking(actor, "lasting")])
    await rolled_back(actor)
    await eventually(lambda: actor.did(f"begin lasting {actor.key}") == 1)
    await actor.say("next, then", "INTERRUPT")
    await actor.say("next, and", "ROLLBACK")

    assert await note(actor) == "This turn was rolled back. Undone: book; book."
    assert cancelled(actor) == ["lasting", "flight"]
    assert (await actor.lines())[-1] == ("assistant", "All right.", "completed")


async def test_a_killed_run_undoes_nothing_and_says_so(actor: Actor) -> None:
    """When an operator kills the run in the middle of a rollback, the chat says what is not undone, and goes on."""
    await booked(actor, [booking(actor, "flight")], [booking(actor, "lasting")])
    run = await actor.running_invocation()
    await actor.call("stop", rollback=True)
    await eventually(lambda: actor.did(f"begin lasting {actor.key}") == 1)
    await actor.server.kill(run)
    await actor.say("next")

    assert await note(actor) == (
        "This turn was rolled back. Not undone: book (no compensation was made); book (no compensation was made)."
    )
    assert (await actor.lines())[-1] == ("assistant", "All right.", "completed")
