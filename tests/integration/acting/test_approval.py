"""Tool calls that wait for approval, on a real server: decisions, messages, time, crashes (DESIGN 4.3)."""

import asyncio
import json
from typing import Any

import pytest

from tests.integration.acting.conftest import Actor
from tests.integration.acting.test_options import asks
from tests.support.eventually import eventually
from tests.support.llm_server import Call, LLMRequest, Plan

PAID = "paid 100 to {}"


def payment(actor: Actor, amount: int = 100, call_id: str = "call_1") -> Call:
    return Call("pay", json.dumps({"amount": amount, "to": actor.key}), call_id)


async def waiting(actor: Actor) -> dict[str, Any]:
    """Open a turn that waits for the approval of a payment; return what the status shows of it."""

    def plan(request: LLMRequest) -> Plan:  # a call that died with the service is made again
        done = any(message["role"] == "tool" for message in request.messages)
        return Plan(text=["All done."]) if done else asks(payment(actor))

    actor.script_by(plan)
    await actor.say("pay")
    [approval] = await actor.waits()
    return approval


def told(actor: Actor, request: int = 1) -> list[str]:
    """Return the tool results that the LLM saw."""
    return [message["content"] for message in actor.requests[request].messages if message["role"] == "tool"]


# Decisions


async def test_an_approved_call_is_made_once(actor: Actor) -> None:
    """A call that waits is shown, and is made once, when a person approves it."""
    approval = await waiting(actor)
    assert approval.items() >= {"call_id": "call_1", "name": "pay"}.items()
    assert json.loads(approval["arguments"]) == {"amount": 100, "to": actor.key}
    assert approval["expires_at"] > "2026"
    assert (await actor.call("get_chat_history"))["approvals"] == [approval]
    [turn] = (await actor.call("look"))["turns"]
    assert turn["approvals"] == [approval]
    assert actor.did(PAID.format(actor.key)) == 0

    assert (await actor.decide(approval, "approve"))["result"] == "applied"
    assert (await actor.idle())[-1] == ("assistant", "All done.", "completed")
    assert await actor.results() == [("ok", PAID.format(actor.key))]
    assert actor.did(PAID.format(actor.key)) == 1
    assert "approvals" not in await actor.call("get_chat_history")


async def test_a_small_payment_waits_for_nobody(actor: Actor) -> None:
    """Where the arguments need no approval the call is made at once."""
    actor.script(asks(payment(actor, amount=3)), Plan(text=["All done."]))
    await actor.say("pay")
    await actor.idle()
    assert await actor.results() == [("ok", f"paid 3 to {actor.key}")]


async def test_a_rejected_call_is_not_made(actor: Actor) -> None:
    """The LLM is told that a person rejected the call, and why; the turn goes on."""
    approval = await waiting(actor)
    await actor.decide(approval, "reject", reason="too <b>much</b>")

    assert (await actor.idle())[-1] == ("assistant", "All done.", "completed")
    [(outcome, content)] = await actor.results()
    assert outcome == "skipped"
    assert "gave the reason 'too <b>much</b>'. It never started" in content
    assert told(actor) == [content]
    assert actor.did(PAID.format(actor.key)) == 0


async def test_a_person_changes_the_arguments(actor: Actor) -> None:
    """Changed arguments replace those of the LLM, who is told; those that do not fit are refused: it still waits."""
    approval = await waiting(actor)
    wrong = {"call_id": "call_1", "approval_id": approval["approval_id"], "decision": "approve", "arguments": {"to": 1}}
    answer = await actor.post("resolve_approval", wrong)
    assert answer.status_code == 400
    assert "Wrong arguments for pay: amount: Field required" in answer.json()["message"]
    assert await actor.waits() == [approval]

    await actor.decide(approval, "approve", arguments={"amount": 50, "to": actor.key})
    await actor.idle()
    [(outcome, content)] = await actor.results()
    assert outcome == "ok"
    assert content.startswith("[The user approved this call with other arguments")
    assert content.endswith(f"paid 50 to {actor.key}")
    assert (actor.did(PAID.format(actor.key)), actor.did(f"paid 50 to {actor.key}")) == (0, 1)


async def test_a_decision_is_taken_once(actor: Actor) -> None:
    """The second decision changes nothing, also after the turn; one about another call is unknown."""
    approval = await waiting(actor)
    other = approval | {"approval_id": approval["approval_id"] + "0"}
    assert (await actor.decide(other, "approve"))["result"] == "unknown"
    assert (await actor.decide(approval | {"call_id": "call_2"}, "approve"))["result"] == "unknown"
    answers = await asyncio.gather(*(actor.decide(approval, "approve") for _ in range(4)))
    assert sorted(answer["result"] for answer in answers) == ["already_resolved"] * 3 + ["applied"]
    await actor.idle()
    again = await actor.decide(approval, "reject")
    assert (again["result"], again["resolution"]["verdict"]) == ("already_resolved", "approved")
    assert actor.did(PAID.format(actor.key)) == 1


async def test_each_call_has_an_approval_of_its_own(actor: Actor) -> None:
    """Of several calls each is approved or rejected by itself, in any order; others run meanwhile."""
    calls = [payment(actor, n, f"call_{n}") for n in (21, 3, 22)]
    actor.script(asks(*calls), Plan(text=["All done."]))
    await actor.say("pay")
    approvals = {each["call_id"]: each for each in await actor.waits(2)}
    await eventually(lambda: actor.did(f"paid 3 to {actor.key}") == 1)

    await actor.decide(approvals["call_22"], "approve")
    await actor.decide(approvals["call_21"], "reject")
    await actor.idle()
    assert [outcome for outcome, _ in await actor.results()] == ["skipped", "ok", "ok"]
    assert actor.did(f"paid 21 to {actor.key}") == 0


# Messages


@pytest.mark.parametrize("mode", ["INTERRUPT", "ROLLBACK"])
async def test_a_message_ends_the_turn(actor: Actor, mode: str) -> None:
    """INTERRUPT and ROLLBACK withdraw the approval: the call never starts, a new turn answers."""
    approval = await waiting(actor)
    actor.script(Plan(text=["Instead."]))
    await actor.say("stop that", mode)

    assert (await actor.idle())[-1] == ("assistant", "Instead.", "completed")
    assert (await actor.decide(approval, "approve"))["resolution"]["verdict"] == "withdrawn"
    [(outcome, content)] = await actor.results()
    assert (outcome, "never started" in content) == ("skipped", True)
    assert told(actor) == ([] if mode == "ROLLBACK" else [content])
    assert actor.did(PAID.format(actor.key)) == 0


@pytest.mark.parametrize("mode", ["INCORPORATE", "STEER"])
async def test_a_message_is_the_reason_of_a_rejection(actor: Actor, mode: str) -> None:
    """INCORPORATE and STEER reject the call with the message as the reason; the same turn goes on with it."""
    approval = await waiting(actor)
    assert (await actor.say("to Tom, not him", mode))["turn_id"] == 1

    lines = await actor.idle()
    assert [role for role, _, _ in lines] == ["user", "assistant", "tool", "user", "assistant"]
    assert {status for _, _, status in lines} == {"completed"}
    [(outcome, content)] = await actor.results()
    assert outcome == "skipped"
    assert "begins with 'to Tom, not him'" in content
    assert [message["role"] for message in actor.requests[1].messages][-2:] == ["tool", "user"]
    assert (await actor.decide(approval, "approve"))["resolution"]["verdict"] == "rejected"
    assert actor.did(PAID.format(actor.key)) == 0


async def test_a_message_that_waits_leaves_it_waiting(actor: Actor) -> None:
    """QUEUE waits for the turn, REJECT is 409; neither approves nor rejects."""
    approval = await waiting(actor)
    actor.script(Plan(text=["All done."]), Plan(text=["And that."]))
    assert (await actor.post("process_user_message", {"content": "x", "mode": "REJECT"})).status_code == 409
    await actor.say("and that", "QUEUE")
    assert await actor.waits() == [approval]

    await actor.decide(approval, "approve")
    assert [content for _, content, _ in await actor.idle()][-3:] == ["All done.", "and that", "And that."]


async def test_stop_withdraws(actor: Actor) -> None:
    """`stop` withdraws the approval, and the chat goes on with the next message."""
    approval = await waiting(actor)
    await actor.call("stop")
    await actor.idle()
    assert (await actor.decide(approval, "approve"))["resolution"]["verdict"] == "withdrawn"
    actor.script(Plan(text=["Next."]))
    await actor.say("next")
    assert (await actor.idle())[-1][1] == "Next."
    assert actor.did(PAID.format(actor.key)) == 0


# Time


async def test_an_approval_expires(hasty: Actor) -> None:
    """After APPROVAL_TIMEOUT_S the call is given up with a sentence, and a late decision changes nothing."""
    hasty.script(asks(payment(hasty)), Plan(text=["A pity."]))
    await hasty.say("pay")
    [approval] = await hasty.waits()
    assert (await hasty.idle())[-1] == ("assistant", "A pity.", "completed")

    [(outcome, content)] = await hasty.results()
    assert (outcome, "Nobody approved this tool call in time" in content) == ("skipped", True)
    late = await hasty.decide(approval, "approve")
    assert (late["result"], late["resolution"]["verdict"]) == ("already_resolved", "expired")
    assert hasty.did(PAID.format(hasty.key)) == 0


# Crashes


async def test_the_service_dies_while_a_call_waits(actor: Actor) -> None:
    """A decision that is sent while the service is dead is taken when it is back; the call is made once."""
    approval = await waiting(actor)
    actor.service.kill9()
    deciding = asyncio.create_task(actor.decide(approval, "approve"))
    await actor.service.start()

    assert (await deciding)["result"] in ("applied", "already_resolved")
    assert (await actor.idle())[-1] == ("assistant", "All done.", "completed")
    assert actor.did(PAID.format(actor.key)) == 1


async def test_the_server_dies_while_a_call_waits(actor: Actor) -> None:
    """An approval that waits is there after the server was killed, and the call is made once."""
    approval = await waiting(actor)
    actor.server.kill9()
    await actor.server.start()

    async def decided() -> bool:
        return (await actor.decide(approval, "approve"))["result"] in ("applied", "already_resolved")

    await eventually(decided)
    assert (await actor.idle())[-1] == ("assistant", "All done.", "completed")
    assert actor.did(PAID.format(actor.key)) == 1


@pytest.mark.parametrize("what", ["service", "server"])
async def test_death_right_behind_the_decision(actor: Actor, what: str) -> None:
    """A decision that was taken holds, whatever dies in the next moment; the call is made, the turn ends."""
    approval = await waiting(actor)
    assert (await actor.decide(approval, "approve"))["result"] == "applied"
    died = actor.service if what == "service" else actor.server
    died.kill9()
    await died.start()

    assert (await actor.idle())[-1] == ("assistant", "All done.", "completed")
    assert actor.did(PAID.format(actor.key)) >= 1  # a step that ran as it died runs again
    assert await actor.results() == [("ok", PAID.format(actor.key))]


async def test_a_killed_run_asks_for_nothing(actor: Actor) -> None:
    """When the run was killed from outside, its approval is withdrawn and the next message is answered."""
    approval = await waiting(actor)
    await actor.server.kill(await actor.running_invocation())
    actor.script(Plan(text=["Next."]))
    await actor.say("next")

    assert (await actor.idle())[-1][1] == "Next."
    assert (await actor.decide(approval, "approve"))["resolution"]["verdict"] in ("withdrawn", "rejected")
    assert actor.did(PAID.format(actor.key)) == 0
