"""What tools may say of themselves: timeout, retries, alone, their context; and results that are no short text."""

import json

from tests.integration.acting.conftest import Actor
from tests.support.llm_server import Call, Plan


def asks(*calls: Call) -> Plan:
    """A reply that asks for these calls."""
    return Plan(text=(), calls=calls, finish_reason="tool_calls")


async def test_a_tool_knows_its_call(actor: Actor) -> None:
    """A tool that asks for its context gets chat, turn and call; its step runs once, its result is JSON."""
    actor.script(asks(Call("where", "{}", "call_9")), Plan(text=["There."]))
    await actor.say("where?")
    await actor.idle()

    [(outcome, content)] = await actor.results()
    assert outcome == "ok"
    assert json.loads(content) == {"chat": actor.key, "turn": 1, "call": "call_9", "saw": 7}
    assert actor.did(f"where {actor.key}") == 1


async def test_a_failed_call_is_tried_again(actor: Actor) -> None:
    """A tool with `retry` runs again until it works; each attempt's step runs once."""
    actor.script(asks(Call("flaky", json.dumps({"name": actor.key}))), Plan(text=["Worked."]))
    await actor.say("try")
    await actor.idle()

    assert await actor.results() == [("ok", "worked at attempt 3")]
    assert actor.did(f"flaky {actor.key}") == 3


async def test_a_call_that_takes_too_long_is_ended(actor: Actor) -> None:
    """A tool with `timeout` is ended after it; the result says that it may have run, the turn goes on."""
    actor.script(asks(Call("slow", json.dumps({"name": actor.key}))), Plan(text=["Too slow."]))
    await actor.say("hurry")

    assert (await actor.idle())[-1] == ("assistant", "Too slow.", "completed")
    [(outcome, content)] = await actor.results()
    assert outcome == "unknown"
    assert "no result within 0.3 s" in content
    assert actor.did(f"slow {actor.key}") == 1


async def test_a_call_that_is_not_parallel_runs_alone(actor: Actor) -> None:
    """Calls of a tool with `parallel=False` do not overlap."""
    names = [f"{actor.key}-{n}" for n in range(3)]
    calls = [Call("alone", json.dumps({"name": name}), f"call_{n}") for n, name in enumerate(names)]
    actor.script(asks(*calls), Plan(text=["One by one."]))
    await actor.say("work")
    await actor.idle()

    mine = [line for line in actor.service.ledger() if actor.key in line]
    assert mine == [f"{way} {name}" for name in names for way in ("in", "out")]


async def test_a_huge_result_is_cut(actor: Actor) -> None:
    """A result of 10 MB of markup reaches the LLM cut off, as it is, and the turn goes on."""
    actor.script(asks(Call("huge", '{"megabytes": 10}')), Plan(text=["A lot."]))
    await actor.say("all of it")

    assert (await actor.idle())[-1] == ("assistant", "A lot.", "completed")
    [(outcome, content)] = await actor.results()
    assert outcome == "ok"
    assert content.startswith('["<script>alert(1)</script>')
    assert "[cut off: 10" in content
    assert len(content) < 21_000


async def test_hostile_arguments_are_told(actor: Actor) -> None:
    """Arguments that are deep, huge or half a character are a failed result each, in a short sentence."""
    hostile = ["[" * 5000, json.dumps({"name": "x" * 9000, "odd": 1}), '{"name": "\\ud83d"}']
    calls = [Call("slow", arguments, f"call_{n}") for n, arguments in enumerate(hostile)]
    actor.script(asks(*calls), Plan(text=["Sorry."]))
    await actor.say("break it")

    assert (await actor.idle())[-1] == ("assistant", "Sorry.", "completed")
    told = await actor.results()
    assert [outcome for outcome, _ in told] == ["failed"] * 3
    assert all(content.startswith("Wrong arguments for slow") and len(content) < 1000 for _, content in told)
