"""Stop that keeps what waits: messages are held, shown, changed, resumed and sent, and survive what happens."""

import json

import pytest

from tests.conftest import StartService
from tests.support.chat import Chat
from tests.support.llm_server import FOR_EVER, Gate, LLMServer, Plan, echo
from tests.support.process import local_http
from tests.support.restate_server import RestateServer

KEEPS = {"queue": "hold"}


async def hold_two(chat: Chat, gate: Gate) -> None:
    """Have "second" (a) and "third" (b) wait for turn 1 and hold them; turn 1 has ended."""
    await chat.say("second", "INCORPORATE", message_id="a")
    await chat.say("third", "QUEUE", message_id="b")
    stopped = await chat.call("stop", **KEEPS)
    assert stopped == {"stopped": True, "turn_id": 1, "withdrawn": [], "held": ["a", "b"]}
    gate.open()
    await chat.idle()


def users(lines: list[tuple[str, str, str]]) -> list[str]:
    return [content for role, content, _ in lines if role == "user"]


async def test_stop_holds_what_waits(chat: Chat, gate: Gate) -> None:
    """`stop` with `hold` ends the turn; what waited is shown as held, and the agent gets none of it."""
    await hold_two(chat, gate)

    status = await chat.status()
    assert (status["busy"], status["open_turns"]) == (False, [])
    assert status["held"] == [
        {"message_id": "a", "content": "second", "mode": "INCORPORATE"},
        {"message_id": "b", "content": "third", "mode": "QUEUE"},
    ]
    held = [entry for entry in await chat.entries() if entry.get("held")]
    assert [(e["message_id"], e["content"], e["status"], e["turn_id"]) for e in held] == [
        ("a", "second", "queued", 3),
        ("b", "third", "queued", 3),
    ]
    assert [e for e in await chat.entries(before_turn=2) if e.get("held")] == []
    await chat.nothing_runs()
    assert len(chat.requests) == 1


async def test_resume_answers_in_order(chat: Chat, gate: Gate) -> None:
    """`resume` has held messages answered, in order, and says in which turns."""
    await hold_two(chat, gate)

    assert (await chat.call("resume"))["resumed"] == [
        {"message_id": "a", "turn_id": 3, "decision": "started"},
        {"message_id": "b", "turn_id": 4, "decision": "queued"},
    ]
    lines = await chat.idle()

    assert users(lines) == ["first", "second", "third"]
    assert [line for line in lines if line[0] == "assistant"][-1][2] == "completed"
    texts = ["\n\n".join(request.user_texts) for request in chat.requests[-2:]]
    assert texts == ["first\n\nsecond", "first\n\nsecond\n\nthird"]
    assert await chat.call("resume") == {"resumed": []}
    assert (await chat.status())["held"] == []


async def test_second_stop_sends(chat: Chat, gate: Gate) -> None:
    """`stop` with `send` right behind the one that holds begins one turn with all of it, in order."""
    await chat.say("second", "INCORPORATE", message_id="a")
    await chat.say("third", "QUEUE", message_id="b")
    await chat.call("stop", **KEEPS)
    sent = await chat.call("stop", queue="send")
    gate.open()
    lines = await chat.idle()

    assert (sent["sent"], sent["next_turn_id"]) == (["a", "b"], 3)
    assert users(lines) == ["first", "second", "third"]
    assert chat.requests[-1].user_texts[-1].endswith("second\n\nthird")
    assert [entry["turn_id"] for entry in await chat.entries() if entry.get("message_id") in ("a", "b")] == [3, 3]


async def test_stop_sends_at_once(chat: Chat, gate: Gate) -> None:
    """`stop` with `send` ends the turn and begins the next with what waits; on an idle chat with what is held."""
    await chat.say("second", "INCORPORATE", message_id="a")
    assert await chat.call("stop", queue="send") == {
        "stopped": True,
        "turn_id": 1,
        "withdrawn": [],
        "sent": ["a"],
        "next_turn_id": 2,
    }
    gate.open()
    lines = await chat.idle()
    assert users(lines) == ["first", "second"]
    assert lines[-1][::2] == ("assistant", "completed")
    nothing: dict[str, object] = {"stopped": False, "turn_id": None, "withdrawn": [], "sent": []}
    assert await chat.call("stop", queue="send") == nothing


@pytest.mark.parametrize("queue", ["withdraw", "hold", "send"])
async def test_stop_of_another_turn_changes_nothing(chat: Chat, gate: Gate, queue: str) -> None:
    """`stop` with the id of a turn that is not open changes nothing, whatever it would do with what waits."""
    await chat.say("second", "QUEUE", message_id="a")
    before = await chat.state()

    answer = await chat.call("stop", turn_id=7, queue=queue)

    assert (answer["stopped"], answer["withdrawn"], answer.get("held"), answer.get("sent")) == (
        False,
        [],
        [] if queue == "hold" else None,
        [] if queue == "send" else None,
    )
    waiting = [message["message_id"] for turn in (await chat.status())["open_turns"] for message in turn["waiting"]]
    assert (waiting, (await chat.state()).keys()) == (["a"], before.keys())
    gate.open()
    await chat.idle()


async def test_first_receipt_of_a_held_message(chat: Chat, gate: Gate) -> None:
    """A message that is held or resumed and sent again is taken once, and gets its first receipt."""
    first = await chat.say("third", "QUEUE", message_id="b")
    await chat.call("stop", **KEEPS)
    assert await chat.say("third", "INTERRUPT", message_id="b") == first
    assert [message["message_id"] for message in (await chat.status())["held"]] == ["b"]
    gate.open()
    await chat.idle()
    (resumed,) = (await chat.call("resume"))["resumed"]
    assert await chat.say("third", message_id="b") == first

    assert (first["turn_id"], resumed["turn_id"]) == (2, 3)
    assert users(await chat.idle()) == ["first", "third"]


async def test_new_message_leaves_held_ones(chat: Chat, gate: Gate) -> None:
    """A message to a chat with held ones is answered as ever; they stay held, and come behind it."""
    await hold_two(chat, gate)
    await chat.say("instead")
    assert users(await chat.idle()) == ["first", "instead", "second", "third"]
    assert [message["message_id"] for message in (await chat.status())["held"]] == ["a", "b"]
    assert "\n\n".join(chat.requests[-1].user_texts) == "first\n\ninstead"

    await chat.call("resume", message_ids=["b"])
    lines = await chat.idle()
    assert users(lines) == ["first", "instead", "third", "second"]
    assert [content for _, content, status in lines if status == "queued"] == ["second"]


async def test_held_message_is_changed(chat: Chat, gate: Gate) -> None:
    """A held message can be edited, withdrawn and sent now; an id that was never sent is 404."""
    await hold_two(chat, gate)
    assert await chat.call("edit_queued_message", message_id="a", content="better") == {"result": "applied"}
    assert await chat.call("withdraw_queued_message", message_id="b") == {"result": "applied"}
    assert await chat.call("hold_queued_message", message_id="b") == {"result": "already_taken"}
    assert (await chat.post("hold_queued_message", {"message_id": "unknown"})).status_code == 404

    assert await chat.call("promote_queued_message", message_id="a") == {"result": "applied"}
    lines = await chat.idle()

    assert users(lines) == ["first", "better"]
    assert await chat.call("promote_queued_message", message_id="a") == {"result": "already_taken"}


async def test_held_message_is_sent_to_the_open_turn(chat: Chat, gate: Gate) -> None:
    """A waiting message that is held reaches the open turn when it is promoted, and not before."""
    await chat.say("second", "INCORPORATE", message_id="a")
    assert await chat.call("hold_queued_message", message_id="a") == {"result": "applied"}
    assert (await chat.status())["open_turns"][0]["waiting"] == []

    assert await chat.call("promote_queued_message", message_id="a") == {"result": "applied"}
    if not chat.always_replay:
        await chat.aborted(chat.requests[0])
    gate.open()

    assert users(await chat.idle()) == ["first", "second"]
    assert (await chat.entries())[-1]["turn_id"] == 1


async def test_held_messages_count(chat: Chat, gate: Gate) -> None:
    """Held messages count against MAX_PENDING."""
    for n in range(6):
        await chat.say(f"waiting {n}", "QUEUE")
    await chat.call("stop", **KEEPS)

    answer = await chat.post("process_user_message", {"content": "one too many"})

    assert answer.status_code == 429
    assert "6 messages of this chat wait" in answer.json()["message"]
    gate.open()
    await chat.idle()


async def test_forget_erases_held_messages(chat: Chat, gate: Gate) -> None:
    """`forget` leaves nothing of what was held."""
    await hold_two(chat, gate)
    await chat.call("forget")

    assert await chat.state() == {}
    assert (await chat.status())["held"] == []
    assert await chat.entries() == []


async def test_held_messages_survive_restarts(
    own_restate_server: RestateServer, start_service: StartService, llm_server: LLMServer
) -> None:
    """What is held is there after service and server were killed, and is answered when it is resumed."""
    llm_server.script = lambda _: Plan(delay_s=FOR_EVER)
    service = await start_service(OPENAI_BASE_URL=llm_server.url, RESTATE_ADMIN_URL=own_restate_server.admin_url)
    await own_restate_server.register(service.url)
    async with local_http() as http:
        chat = Chat(own_restate_server, llm_server, http, "ellie")
        await chat.say("first")
        await chat.asked(1)
        await chat.say("second", "INCORPORATE", message_id="a")
        await chat.say("third", "QUEUE", message_id="b")
        await chat.call("stop", **KEEPS)
        service.kill9()
        await own_restate_server.restart()
        await service.start()
        llm_server.script = echo
        await chat.idle(timeout_s=30)
        assert [message["message_id"] for message in (await chat.status())["held"]] == ["a", "b"]

        await chat.call("resume")
        lines = await chat.idle()
        assert users(lines) == ["first", "second", "third"]
        assert lines[-1][::2] == ("assistant", "completed")
        await chat.close()


async def test_held_messages_survive_the_version_before(chat: Chat, gate: Gate) -> None:
    """A version that does not know what is held drops it as it writes `session`; this one finds it again."""
    await hold_two(chat, gate)
    session = json.loads((await chat.state())["session"])
    for unknown in ("held", "received"):
        del session[unknown]
    await chat.nothing_runs()
    await chat.edit_state({"session": json.dumps(session)})

    assert [message["message_id"] for message in (await chat.status())["held"]] == ["a", "b"]
    await chat.call("set_mode", mode="QUEUE")  # writes without a look at what is held
    await chat.say("meanwhile")
    await chat.idle()
    await chat.call("stop", queue="send")

    assert users(await chat.idle()) == ["first", "meanwhile", "second", "third"]


async def test_holding_costs_a_message_nothing(chat: Chat, gate: Gate) -> None:
    """A message to a chat where something is held has the journal entries of one where nothing ever was, no more reads.

    It reads its receipt and `session`.
    """
    gate.open()
    await chat.idle()
    await chat.say("plain", message_id="plain")
    await chat.idle()
    another = Gate()
    chat.script(Plan(gate=another))
    await chat.say("long", message_id="long")
    await chat.say("waits", "QUEUE", message_id="waits")
    assert (await chat.call("stop", **KEEPS))["held"] == ["waits"]
    another.open()
    await chat.idle()
    await chat.say("beside", message_id="beside")
    await chat.idle()

    _, plain, _, _, beside = await entries_of_messages(chat)

    assert plain == beside
    assert len([entry for entry in plain if entry == "Command: GetLazyState"]) == 2, plain


async def entries_of_messages(chat: Chat) -> list[list[str]]:
    """Return the types of the journal entries of each message's handler, in the order in which they were sent."""
    rows = await chat.server.query(
        "SELECT j.id AS id, j.entry_type AS type FROM sys_journal j JOIN sys_invocation i ON i.id = j.id "  # noqa: S608 - ours
        f"WHERE i.target_service_key = '{chat.key}' AND i.target_handler_name = 'process_user_message' "
        "ORDER BY i.created_at, j.index"
    )
    journals: dict[str, list[str]] = {}
    for row in rows:
        journals.setdefault(row["id"], []).append(row["type"])
    return list(journals.values())


@pytest.mark.parametrize("queue", ["hold", "send"])
async def test_stops_right_after_messages(chat: Chat, queue: str) -> None:
    """`stop` right behind a message, before anything is known of its run, and once more, loses and doubles nothing."""
    for n in range(5):
        await chat.say(f"message {n}")
        await chat.call("stop", queue=queue)
        assert (await chat.call("stop", queue=queue))["stopped"] is False
    await chat.idle()
    await chat.nothing_runs()

    await chat.call("resume")
    await chat.say("last", "QUEUE")

    lines = await chat.idle()
    assert users(lines) == [*(f"message {n}" for n in range(5)), "last"]
    assert lines[-1][::2] == ("assistant", "completed")
    assert "\n\n".join(chat.requests[-1].user_texts) == "\n\n".join(users(lines))
