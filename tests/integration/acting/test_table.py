"""What a message of each mode does in each state of the chat: the table in `table.py`, on a real server."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.integration.acting.conftest import Actor
from tests.integration.acting.table import KEY, MODES, TABLE
from tests.support.chat import replies
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, LLMRequest, Plan

# How each state is reached. What is returned lets a turn go on that the message has not ended.

GoOn = Callable[[], Awaitable[None]]


def scripted(actor: Actor, *plans: Plan) -> None:
    """Answer the first requests with `plans`, all others with their number; one that is made again has the same."""
    planned = replies(*plans)
    count = len(plans)

    def script(request: LLMRequest) -> Plan:
        number = len(without_repeats(actor.requests))
        return planned(request) if len(actor.requests) <= count else Plan(text=["Answer ", f"{number}."])

    actor.script_by(script)


def without_repeats(requests: list[LLMRequest]) -> list[LLMRequest]:
    """Return requests without those that were made again right behind."""
    after = [None, *requests]
    return [request for before, request in zip(after, requests, strict=False) if not _is_same(before, request)]


def _is_same(before: LLMRequest | None, request: LLMRequest) -> bool:
    return before is not None and before.messages == request.messages


async def idle(actor: Actor) -> GoOn:
    scripted(actor)
    return _nothing


async def in_a_call(actor: Actor, gate_at: int = 0) -> GoOn:
    gate = Gate()
    scripted(actor, Plan(text=["Answer ", "1."], gate=gate, gate_at=gate_at))
    await actor.say("first")
    await (actor.streaming(1) if gate_at else actor.asked(1))

    async def go_on() -> None:
        gate.open()

    return go_on


async def in_mid_text(actor: Actor) -> GoOn:
    return await in_a_call(actor, gate_at=1)


async def tools_running(actor: Actor) -> GoOn:
    calls = [
        Call("book", json.dumps({"what": "seat", "chat": actor.key}), "book"),
        Call("errand", json.dumps({"name": actor.key}), "errand"),
        Call("alone", json.dumps({"name": actor.key}), "alone"),
    ]
    scripted(actor, Plan(text=(), calls=calls, finish_reason="tool_calls"))
    await actor.say("first")
    await eventually(lambda: actor.did(f"booking seat {actor.key}") == actor.did(f"errand {actor.key}") == 1)
    return await _ends(actor, actor.key)


async def waiting_for_approval(actor: Actor) -> GoOn:
    call = Call("pay", json.dumps({"amount": 100, "to": actor.key}), "pay")
    scripted(actor, Plan(text=(), calls=[call], finish_reason="tool_calls"))
    await actor.say("first")
    [approval] = await actor.waits()

    async def go_on() -> None:
        for waits in (await actor.call("get_chat_history")).get("approvals", []):
            assert waits == approval
            await actor.decide(approval, "approve")

    return go_on


async def waiting_for_retry(actor: Actor) -> GoOn:
    scripted(actor, Plan(status=503, headers={"retry-after": "2"}, error={"error": {"message": "busy"}}))
    await actor.say("first")

    async def waits() -> bool:
        return "waiting_for" in (await actor.status())["open_turns"][0]

    await eventually(waits)
    return _nothing


async def turn_queued(actor: Actor) -> GoOn:
    go_on = await in_a_call(actor)
    await actor.say("queued", "QUEUE")
    return go_on


async def stopping(actor: Actor) -> GoOn:
    name = f"stubborn {actor.key}"
    call = Call("errand", json.dumps({"name": name}), "errand")
    scripted(actor, Plan(text=(), calls=[call], finish_reason="tool_calls"))
    await actor.say("first")
    await eventually(lambda: actor.did(f"errand {name}") == 1)
    assert (await actor.call("stop"))["stopped"]
    return await _ends(actor, name)


async def held(actor: Actor) -> GoOn:
    go_on = await held_beside_a_turn(actor)
    await go_on()
    await actor.idle()
    return _nothing


async def held_beside_a_turn(actor: Actor) -> GoOn:
    go_on = await in_a_call(actor)
    await actor.say("held", "INCORPORATE", message_id="held")
    assert await actor.call("hold_queued_message", message_id="held") == {"result": "applied"}
    return go_on


async def _ends(actor: Actor, name: str) -> GoOn:
    async def go_on() -> None:
        actor.service.enter(f"end {name}")

    return go_on


async def _nothing() -> None:
    pass


STATES: dict[str, Callable[[Actor], Awaitable[GoOn]]] = {
    "idle": idle,
    "before the first token": in_a_call,
    "in mid-text": in_mid_text,
    "tools running": tools_running,
    "waiting for an approval": waiting_for_approval,
    "waiting for a retry": waiting_for_retry,
    "a turn queued behind": turn_queued,
    "stopping": stopping,
    "a message held": held,
    "a message held beside a turn": held_beside_a_turn,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", STATES)
async def test_a_message(actor: Actor, state: str, mode: str) -> None:
    """A message of each mode does in each state what the table says, and the LLM sees next what stands there."""
    row = TABLE[state][mode]
    go_on = await STATES[state](actor)
    before, done = len(actor.requests), len(_ledger(actor))

    answer = await actor.post("process_user_message", {"content": "second", "mode": mode})
    under_way = actor.requests[before - 1 : before]
    if row.aborted:
        await actor.aborted(under_way[0])
    await go_on()
    await actor.idle()

    if row.decision == "refused":
        assert (answer.status_code, f"Turn {row.turn} is open" in answer.json()["message"]) == (409, True)
    else:
        assert (answer.json()["turn_id"], answer.json()["decision"]) == (row.turn, row.decision)
    assert [_line(actor, entry) for entry in await actor.entries()] == row.history
    asked = actor.requests[before:]
    if actor.always_replay:  # a run that is a replay does not take the call that was begun for it, and makes it again
        asked = without_repeats(asked)
    assert [_messages(actor, request) for request in asked] == row.asked
    assert row.aborted or all(request.disconnected_at is None for request in under_way)
    assert [line for line in _ledger(actor)[done:] if not line.startswith("end ")] == row.ledger


def test_the_table_is_whole() -> None:
    """There is a row for every mode in every state."""
    assert {state: set(rows) for state, rows in TABLE.items()} == {state: set(MODES) for state in STATES}


def _line(actor: Actor, entry: dict[str, Any]) -> str:
    """Return a line of the history as the table writes it."""
    more = ["partial" if entry["partial"] else "", entry.get("outcome", ""), "held" if entry.get("held") else ""]
    status = ", ".join([entry["status"], *filter(None, more)])
    calls = "".join(f" {call['call_id']}" for call in entry.get("tool_calls", ()))
    said = f"{entry['content']}{calls and f'→{calls}'}"
    return f"{entry['turn_id']} {entry['role']} {status}: {said}".replace(actor.key, KEY)


def _messages(actor: Actor, request: LLMRequest) -> list[str]:
    """Return the messages of a request as the table writes them; the system prompt is the same for all."""
    prompt, *messages = request.messages
    assert prompt == {"role": "system", "content": "You are under test."}
    return [_message(message).replace(actor.key, KEY) for message in messages]


def _message(message: dict[str, Any]) -> str:
    functions = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
    assert all(call_id == function["name"] for call_id, function in functions)
    calls = "".join(f" {call_id}{function['arguments']}" for call_id, function in functions)
    who = f"{message['role']} {message['tool_call_id']}" if message["role"] == "tool" else message["role"]
    return f"{who}: {message['content'] or ''}{calls and f'→{calls}'}"


def _ledger(actor: Actor) -> list[str]:
    """Return what the tools of this chat have done."""
    return [line.replace(actor.key, KEY) for line in actor.service.ledger() if actor.key in line]
