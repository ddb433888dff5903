"""A chat heals when runs are killed or cancelled from outside, or stored turns are odd (DESIGN 4.5, invariant 6)."""

import json

import pytest

from app.hosting.stack import ROOT
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, Plan

MODES = ["INTERRUPT", "ROLLBACK", "INCORPORATE", "STEER", "QUEUE", "REJECT"]


async def end_outside(chat: Chat, how: str, invocation_id: str) -> None:
    """Kill or cancel a run as somebody does in the Restate UI, and wait for its end."""
    await (chat.server.kill if how == "kill" else chat.server.cancel)(invocation_id)

    async def over() -> bool:
        left = [row["id"] for row in await chat.invocations()]
        assert invocation_id not in left, left
        return True

    await eventually(over)


def users(lines: list[tuple[str, str, str]]) -> list[str]:
    return [content for role, content, _ in lines if role == "user"]


@pytest.mark.parametrize("mode", MODES)
async def test_message_after_a_watched_run_was_killed(chat: Chat, gate: Gate, mode: str) -> None:
    """The next message after a running turn was killed is answered in every mode, and nothing is lost."""
    await chat.say("waits", "INCORPORATE")
    await end_outside(chat, "kill", await chat.running_invocation())
    gate.open()
    await chat.idle(timeout_s=5)  # "waits" had the run watched, so the chat closes the turn and goes on by itself

    await chat.say("next", mode)

    lines = await chat.idle(timeout_s=5)
    assert users(lines) == ["first", "waits", "next"]
    assert lines[-1][0] == "assistant"
    assert "\n\n".join(chat.requests[-1].user_texts).split("\n\n")[-2:] == ["waits", "next"]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "REJECT"])
async def test_message_after_a_killed_run(chat: Chat, gate: Gate, mode: str) -> None:
    """The next message after a running turn was killed is answered."""
    await end_outside(chat, "kill", await chat.running_invocation())
    gate.open()

    await chat.say("next", mode)

    lines = await chat.idle(timeout_s=5)
    assert users(lines) == ["first", "next"]
    assert lines[-1][0] == "assistant"


async def test_killed_turn_rejects_once(chat: Chat, gate: Gate) -> None:
    """REJECT finds a turn open that was killed; the try closes it, so that the next one is accepted."""
    await end_outside(chat, "kill", await chat.running_invocation())
    gate.open()
    assert (await chat.post("process_user_message", {"content": "next", "mode": "REJECT"})).status_code == 409

    async def accepted() -> bool:
        answer = await chat.post("process_user_message", {"content": "again", "mode": "REJECT"})
        return answer.status_code == 200

    await eventually(accepted)
    assert users(await chat.idle(timeout_s=5)) == ["first", "again"]


async def test_killed_turn_says_so(chat: Chat, gate: Gate) -> None:
    """A turn that was killed is failed, with a sentence in the chat, once the next message comes."""
    await end_outside(chat, "kill", await chat.running_invocation())
    gate.open()
    await chat.say("next", "STEER")
    lines = await chat.idle(timeout_s=5)

    assert lines[0] == ("user", "first", "failed")
    assert lines[1][::2] == ("system", "failed")
    assert "ended from outside" in lines[1][1]


@pytest.mark.parametrize("mode", MODES)
async def test_message_after_a_cancelled_run(chat: Chat, gate: Gate, mode: str) -> None:
    """A running turn that was cancelled in the UI ends as interrupted by itself; the next message is answered."""
    await chat.server.cancel(await chat.running_invocation())
    if chat.always_replay:
        gate.open()
    lines = await chat.idle(timeout_s=5)
    assert lines[0] == ("user", "first", "completed" if chat.always_replay else "interrupted")

    await chat.say("next", mode)
    assert (await chat.idle())[-1][0] == "assistant"


@pytest.mark.parametrize("how", ["kill", "cancel"])
@pytest.mark.parametrize("mode", MODES)
async def test_message_after_a_queued_run_ended(chat: Chat, gate: Gate, how: str, mode: str) -> None:
    """A queued turn whose run was killed or cancelled in the UI is not stuck: the next message, in every mode, is
    answered, and the queued one with it or before it; in REJECT once the queued one, which is not lost, is answered."""
    await chat.say("queued", "QUEUE")
    queued = (await chat.status())["open_turns"][1]["invocation_id"]
    await end_outside(chat, how, queued)
    gate.open()

    async def first_is_over() -> bool:
        return ("assistant", "answer 1", "completed") in await chat.lines()

    await eventually(first_is_over)
    if mode == "REJECT":
        await chat.idle(timeout_s=5)
    await chat.say("next", mode)

    lines = await chat.idle(timeout_s=5)
    assert users(lines) == ["first", "queued", "next"]
    assert lines[-1][0] == "assistant"


async def test_stop_after_a_killed_run(chat: Chat, gate: Gate) -> None:
    """`stop` of a turn whose run was killed closes it."""
    await end_outside(chat, "kill", await chat.running_invocation())
    gate.open()

    assert (await chat.call("stop"))["stopped"]

    assert (await chat.idle())[0][2] == "interrupted"


async def test_kill_with_a_queue_behind(chat: Chat, gate: Gate) -> None:
    """When a running turn is killed, the queued one behind it goes on by itself with all that waited."""
    await chat.say("waits", "INCORPORATE")
    await chat.say("queued", "QUEUE")
    await end_outside(chat, "kill", await chat.running_invocation())
    gate.open()

    lines = await chat.idle(timeout_s=5)
    assert users(lines) == ["first", "waits", "queued"]
    assert lines[-1] == ("assistant", "answer to: first\n\nwaits\n\nqueued", "completed")


async def test_run_killed_while_it_is_interrupted(chat: Chat) -> None:
    """A turn that is killed while it is being interrupted ends as interrupted, and the new turn answers."""
    if not chat.always_replay:
        pytest.skip("an interrupted run ends within milliseconds there, too soon to kill it")
    task = Call("execute_task", '{"task": "a task"}', "call_1")  # a tool hears of the interrupt when it has ended
    await chat.begin(Plan(text=(), calls=[task], finish_reason="tool_calls"))
    await chat.tools_started(1)
    invocation_id = await chat.running_invocation()
    await chat.say("second")
    await chat.server.kill(invocation_id)

    lines = await chat.idle(timeout_s=5)
    assert users(lines) == ["first", "second"]
    assert lines[-1][0] == "assistant"


@pytest.mark.parametrize("content", ["more", "m0"], ids=["refused", "repeated"])
async def test_message_that_changes_nothing_heals(chat: Chat, gate: Gate, content: str) -> None:
    """A message that is refused as one too many, or that was sent before, still has a dead run found."""
    for n in range(6):
        await chat.say(f"m{n}", "INCORPORATE", message_id=f"m{n}")
    for row in sorted(await chat.invocations(), key=lambda row: row["target"].endswith("/run")):  # settlement first
        await chat.server.end_if_open(row["id"], "kill")
    await chat.nothing_runs()
    gate.open()

    answer = await chat.post("process_user_message", {"content": content, "message_id": content})

    assert answer.status_code == (429 if content == "more" else 200)

    async def went_on() -> bool:
        assert (await chat.turn(1))["status"] == "failed"
        return True

    await eventually(went_on)
    lines = await chat.idle()
    assert users(lines) == ["first", *(f"m{n}" for n in range(6))]
    assert lines[-1][::2] == ("assistant", "completed")


async def test_odd_stored_turn_is_repaired(chat: Chat) -> None:
    """A stored turn with a result without a call and a call without a result does not make the LLM refuse the chat."""
    await chat.say("first")
    await chat.idle()
    turn = await chat.turn(1)
    call = {"call_id": "lost", "name": "execute_task", "arguments": "{}"}
    turn["items"] += [
        {"kind": "tool", "call_id": "orphan", "name": "execute_task", "content": "from nowhere"},
        {"kind": "assistant", "content": "", "tool_calls": [call], "finish": "tool_calls"},
    ]
    await chat.edit_state({"turn/1": json.dumps(turn)})
    await chat.edit_state({"memory": None}, "AgentSession")

    await chat.say("second")
    await chat.idle()

    roles = [message["role"] for message in chat.requests[-1].messages]
    assert roles == ["system", "user", "assistant", "tool", "user"] or roles == [
        "system",
        "user",
        "assistant",
        "assistant",
        "tool",
        "user",
    ]
    assert "from nowhere" not in str(chat.requests[-1].messages)


HANDLERS: dict[str, dict[str, object] | None] = {
    "process_user_message": {"content": "next"},
    "get_chat_history": {},
    "get_status": None,
    "stop": {},
    "resume": {},
    "hold_queued_message": {"message_id": "m"},
    "edit_queued_message": {"message_id": "m", "content": "other"},
    "withdraw_queued_message": {"message_id": "m"},
    "promote_queued_message": {"message_id": "m"},
    "preview_rollback": None,
    "resolve_approval": {"call_id": "c", "approval_id": "1-a", "decision": "approve"},
}


async def refusals(chat: Chat, *, history: bool = True) -> dict[str, str]:
    """Return what the public handlers (but `forget` and `set_mode`) say of a chat that they must refuse."""
    answers = {}
    for name, body in HANDLERS.items():
        if name == "get_chat_history" and not history:
            continue
        answer = await chat.post(name, body)
        assert answer.status_code == 500, (name, answer.text)
        answers[name] = answer.json()["message"]
    return answers


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("not JSON", "Invalid JSON"),
        ("[1]", "should be an object"),
        ('{"last_turn_id": "x"}', "last_turn_id: Input should be a valid integer"),
    ],
    ids=["no-json", "other-type", "wrong-field"],
)
async def test_broken_session_is_named(chat: Chat, value: str, why: str) -> None:
    """Control data that cannot be read are named, with what to do; `forget` works all the same."""
    await chat.say("first", message_id="m")
    await chat.idle()
    await chat.edit_state({"session": value})

    for message in (await refusals(chat)).values():
        assert f"'session' of chat '{chat.key}' cannot be read" in message
        assert why in message
        assert "Repair it in the Restate UI" in message
        assert "`forget`" in message
    await chat.call("forget")
    await chat.nothing_runs()
    assert (await chat.say("anew"))["turn_id"] == 1
    await chat.idle()


async def test_missing_session_is_named(chat: Chat) -> None:
    """Without its control data a chat with turns refuses messages: turn 1 would be written over."""
    await chat.say("first", message_id="m")
    await chat.idle()
    await chat.edit_state({"session": None})

    for message in (await refusals(chat)).values():
        assert "'session'" in message
        assert "is missing or empty, although there are turns" in message
    assert (await chat.post("set_mode", {"mode": "QUEUE"})).status_code == 500
    await chat.call("forget")


@pytest.mark.parametrize("turns", [[{}], [], [{"turn_id": 7}]], ids=["broken", "missing", "another"])
async def test_broken_open_turn_is_named(chat: Chat, gate: Gate, turns: list[dict[str, int]]) -> None:
    """An open turn that cannot be read or is missing is named; its run ends, and `forget` works all the same."""
    session = json.loads((await chat.state())["session"])
    await chat.edit_state({"session": json.dumps(session | {"turns": turns})})

    for message in (await refusals(chat)).values():
        assert "'session'" in message
        assert "turns.0.turn_id: " in message or "lacks turn 1, although this turn is open" in message
    gate.open()
    await chat.call("forget")
    await chat.nothing_runs()
    assert (await chat.state(), await chat.state("AgentSession")) == ({}, {})
    await chat.say("anew")
    assert (await chat.idle())[-1] == ("assistant", "answer to: anew", "completed")


async def test_broken_receipt_is_named(chat: Chat) -> None:
    """A receipt that cannot be read is named; other messages are taken."""
    await chat.say("first", message_id="m")
    await chat.idle()
    await chat.edit_state({"message/m": "{}"})

    answer = await chat.post("process_user_message", {"content": "first", "message_id": "m"})

    assert answer.status_code == 500
    assert "'message/m'" in answer.json()["message"]
    await chat.say("second")
    await chat.idle()


async def test_state_of_the_version_before_is_read(chat: Chat) -> None:
    """A chat as the version before stored it is shown, heals (its open run is no more), and goes on.

    Messages of that version have no receipt if their id was the chat's.
    """
    stored = json.loads((ROOT / "tests" / "data" / "chat_before_issue_6.json").read_text())
    await chat.edit_state({key: json.dumps(value) for key, value in stored.items()})
    assert (await chat.lines())[:3] == [
        ("user", "one", "completed"),
        ("assistant", "Hello there.", "completed"),
        ("tool", "The task is done: something", "completed"),
    ]
    status = await chat.status()
    assert (status["mode"], status["last_turn_id"]) == ("QUEUE", 5)
    assert (await chat.say("one", message_id="client-1"))["turn_id"] == 1
    assert await chat.call("withdraw_queued_message", message_id="client-1") == {"result": "already_taken"}

    await chat.say("seven")

    lines = await chat.idle()
    assert users(lines) == ["one", "two", "three", "four", "five", "six", "seven"]
    assert lines[-1][::2] == ("assistant", "completed")
