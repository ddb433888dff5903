"""What people do beside talking: receipts, stop, modes, waiting messages, forget, and what they can read."""

import asyncio

import pytest

from tests.conftest import StartService
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Gate, LLMServer, Plan, echo
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

# Receipts


async def test_repeated_message_id_gets_the_first_receipt(chat: Chat, gate: Gate) -> None:
    """The same message with the same id is taken once; it gets the first receipt again, whatever its mode."""
    first = await chat.say("second", "QUEUE", message_id="my id/1")
    again = await chat.say("second", "INTERRUPT", message_id="my id/1")
    gate.open()
    lines = await chat.idle()

    assert again == first
    assert [content for role, content, _ in lines if role == "user"] == ["first", "second"]
    assert await chat.say("second", message_id="my id/1") == first
    assert len(chat.requests) == 2


async def test_message_id_with_another_text_is_a_conflict(chat: Chat, gate: Gate) -> None:
    """A message id that was used for another text is 409, names the id, and changes nothing."""
    await chat.say("second", "QUEUE", message_id="mine")

    answer = await chat.post("process_user_message", {"content": "other", "message_id": "mine", "mode": "QUEUE"})

    assert answer.status_code == 409
    assert "message_id 'mine' was used for another text" in answer.json()["message"]
    gate.open()
    assert "other" not in str(await chat.idle())


# Stop


@pytest.mark.parametrize("body", [{}, {"turn_id": 1}])
@pytest.mark.usefixtures("gate")
async def test_stop_ends_the_turn(chat: Chat, body: dict[str, int]) -> None:
    """`stop` ends the open turn, withdraws what waits and names it; the next message is answered."""
    queued = await chat.say("second", "QUEUE")
    handed_in = await chat.say("third", "INCORPORATE")

    stopped = await chat.call("stop", **body)

    withdrawn = [queued["message_id"], handed_in["message_id"]]
    assert stopped == {"stopped": True, "turn_id": 1, "withdrawn": withdrawn}
    lines = await chat.idle()
    assert [content for role, content, _ in lines if role == "user"] == ["first"]
    assert lines[0][2] == "interrupted"
    await chat.say("fourth")
    assert (await chat.idle())[-1][0] == "assistant"


async def test_stop_of_another_turn_is_nothing(chat: Chat, gate: Gate) -> None:
    """`stop` with the id of a turn that is not open answers false and stops nothing."""
    assert await chat.call("stop", turn_id=7) == {"stopped": False, "turn_id": None, "withdrawn": []}
    gate.open()
    assert (await chat.idle())[-1] == ("assistant", "answer 1", "completed")

    assert (await chat.call("stop", turn_id=1))["stopped"] is False
    assert (await chat.call("stop"))["stopped"] is False
    assert (await chat.idle())[-1] == ("assistant", "answer 1", "completed")


async def test_stop_of_a_queued_turn(chat: Chat, gate: Gate) -> None:
    """`stop` with the id of a queued turn withdraws that turn only."""
    await chat.say("second", "QUEUE")
    await chat.say("third", "QUEUE")

    assert (await chat.call("stop", turn_id=2))["turn_id"] == 2

    gate.open()
    lines = await chat.idle()
    assert [content for role, content, _ in lines if role == "user"] == ["first", "third"]


async def test_stop_right_after_the_start(chat: Chat) -> None:
    """`stop` right behind a message ends its turn, wherever it is; nothing stays open."""
    for n in range(5):
        await chat.say(f"message {n}")
        await chat.call("stop")
    await chat.idle()

    await chat.nothing_runs()
    await chat.say("last")
    assert (await chat.idle())[-1][0] == "assistant"


# Modes


async def test_mode_of_a_message(chat: Chat, gate: Gate) -> None:
    """The mode of a message is its own, else the chat's, else the service's."""
    assert await chat.call("set_mode", mode="QUEUE") == {"mode": "QUEUE"}
    assert (await chat.status())["mode"] == "QUEUE"
    assert (await chat.say("queued"))["decision"] == "queued"
    assert (await chat.say("handed in", "INCORPORATE"))["decision"] == "incorporated"

    answer = await chat.post("set_mode", {"mode": None})
    assert answer.json() == {"mode": "INTERRUPT"}
    assert (await chat.say("interrupts"))["decision"] == "interrupted"
    gate.open()
    await chat.idle()


async def test_mode_of_the_service(
    start_service: StartService, own_restate_server: RestateServer, llm_server: LLMServer
) -> None:
    """`MODE` is the mode of messages without one, in chats without one."""
    gate = Gate()
    llm_server.script = lambda _: Plan(gate=gate)
    service = await start_service(
        MODE="QUEUE", OPENAI_BASE_URL=llm_server.url, RESTATE_ADMIN_URL=own_restate_server.admin_url
    )
    await own_restate_server.register(service.url)
    async with local_http() as http:
        chat = Chat(own_restate_server, llm_server, http, "ellie")
        await chat.say("first")
        assert (await chat.say("second"))["decision"] == "queued"
        gate.open()
        await chat.idle()
        await chat.close()


# Waiting messages


async def test_waiting_message_is_edited(chat: Chat, gate: Gate) -> None:
    """A waiting message can be edited until the agent has it; then the answer is `already_taken`."""
    await chat.say("second", "QUEUE", message_id="m")

    assert await chat.call("edit_queued_message", message_id="m", content="better") == {"result": "applied"}
    gate.open()
    await chat.idle()

    assert chat.requests[1].user_texts == ["first", "better"]
    late = await chat.call("edit_queued_message", message_id="m", content="too late")
    assert late == {"result": "already_taken"}
    assert "too late" not in str(await chat.lines())


async def test_waiting_message_is_withdrawn(chat: Chat, gate: Gate) -> None:
    """A withdrawn message never reaches the LLM and leaves the history; a taken one stays."""
    await chat.say("second", "QUEUE", message_id="a")
    await chat.say("third", "QUEUE", message_id="b")

    assert await chat.call("withdraw_queued_message", message_id="a") == {"result": "applied"}
    gate.open()
    lines = await chat.idle()

    assert [content for role, content, _ in lines if role == "user"] == ["first", "third"]
    assert chat.requests[-1].user_texts == ["first", "third"]
    for message_id in ("a", "b"):
        answer = await chat.call("withdraw_queued_message", message_id=message_id)
        assert answer == {"result": "already_taken"}


async def test_waiting_message_is_promoted(chat: Chat, gate: Gate) -> None:
    """A promoted message steers the running turn, ahead of the other queued ones."""
    await chat.say("second", "QUEUE", message_id="a")
    await chat.say("third", "QUEUE", message_id="b")

    assert await chat.call("promote_queued_message", message_id="b") == {"result": "applied"}
    await chat.aborted(chat.requests[0])
    gate.open()
    lines = await chat.idle()

    assert [content for role, content, _ in lines if role == "user"] == ["first", "third", "second"]
    assert await chat.call("promote_queued_message", message_id="b") == {"result": "already_taken"}


@pytest.mark.parametrize("handler", ["edit_queued_message", "withdraw_queued_message", "promote_queued_message"])
async def test_unknown_message(chat: Chat, gate: Gate, handler: str) -> None:
    """An id that this chat never gave nor got is 404; one of a message that the agent has, however old, is not."""
    content = {"content": "other"} if handler == "edit_queued_message" else {}
    first = (await chat.entries())[0]["message_id"]  # made by the chat
    assert await chat.call(handler, message_id=first, **content) == {"result": "already_taken"}

    answer = await chat.post(handler, {"message_id": "unknown", **content})

    assert answer.status_code == 404
    assert "No message 'unknown' is known in this chat" in answer.text
    gate.open()
    await chat.idle()
    assert await chat.call(handler, message_id=first, **content) == {"result": "already_taken"}


async def test_status_shows_what_waits(chat: Chat, gate: Gate) -> None:
    """`get_status` shows the mode, the open turns in order and the messages that wait, with their ids."""
    await chat.say("second", "INCORPORATE", message_id="a")
    await chat.say("third", "QUEUE", message_id="b")
    status = await chat.status()

    assert (status["mode"], status["busy"], status["last_turn_id"]) == ("INTERRUPT", True, 2)
    first, second = status["open_turns"]
    assert (first["turn_id"], first["status"], first["stopping"]) == (1, "running", False)
    assert first["waiting"] == [{"message_id": "a", "content": "second", "mode": "INCORPORATE"}]
    assert (second["turn_id"], second["status"]) == (2, "queued")
    assert first["invocation_id"].startswith("inv_")
    assert first["invocation_id"] != second["invocation_id"]
    gate.open()
    await chat.idle()
    assert (await chat.status())["open_turns"] == []


async def test_too_many_waiting_messages(chat: Chat, gate: Gate) -> None:
    """Beyond MAX_PENDING waiting messages the answer is 429, names the limit, and stores nothing."""
    for n in range(6):
        await chat.say(f"waiting {n}", "QUEUE" if n % 2 else "INCORPORATE")

    answer = await chat.post("process_user_message", {"content": "one too many", "mode": "QUEUE"})

    assert answer.status_code == 429
    assert "6 messages of this chat wait" in answer.json()["message"]
    assert "MAX_PENDING" in answer.json()["message"]
    gate.open()
    assert "one too many" not in str(await chat.idle())


# Forget


async def test_forget_erases(chat: Chat, gate: Gate) -> None:
    """`forget` ends everything and erases the chat; what its run still reports changes nothing."""
    await chat.say("second", "QUEUE")
    await chat.call("forget")
    await chat.aborted(chat.requests[0])
    gate.open()
    await chat.nothing_runs()

    assert await chat.entries() == []
    status = await chat.status()
    assert (status["busy"], status["last_turn_id"]) == (False, 0)
    assert len(chat.requests) == 1
    assert await chat.state() == {}


async def test_forget_erases_the_journals(chat: Chat) -> None:
    """After `forget` Restate keeps no invocation of the chat, completed or open, and no entry of their journals.

    What is said to the same key since then is kept.
    """
    await chat.say("a secret", message_id="m")
    await chat.idle()
    gate = Gate()
    chat.script(Plan(gate=gate))
    await chat.say("another secret")
    await chat.asked(2)
    before = await chat.kept_invocations()
    assert len(before) > 5

    await chat.call("forget")
    gate.open()
    await chat.say("after")

    async def erased() -> bool:
        left = await chat.kept_invocations()
        assert not set(before) & set(left), left
        return True

    await eventually(erased)
    await chat.idle()
    await chat.nothing_runs()
    assert await chat.lines() == [("user", "after", "completed"), ("assistant", "answer to: after", "completed")]
    left = await chat.kept_invocations()
    assert "forget" not in [target.rsplit("/", 1)[1] for target in left.values()]
    assert [target for target in left.values() if target.endswith("/process_user_message")] != []
    assert "erase_journals" not in str(left)
    assert await chat.journals_of(before) == 0


async def test_forget_without_the_admin_api(
    start_service: StartService, own_restate_server: RestateServer, llm_server: LLMServer
) -> None:
    """`forget` erases the chat also where the admin API cannot be reached; the log then says that journals remain."""
    llm_server.script = echo
    nowhere = f"http://127.0.0.1:{free_port()}"
    service = await start_service(OPENAI_BASE_URL=llm_server.url, RESTATE_ADMIN_URL=nowhere)
    await own_restate_server.register(service.url)
    async with local_http() as http:
        chat = Chat(own_restate_server, llm_server, http, "ellie")
        await chat.say("first")
        await chat.idle()

        await chat.call("forget")

        assert await chat.lines() == []

        def said() -> bool:
            return any(
                "journals of the forgotten chat of ellie remain" in line and nowhere in line
                for line in service.log_lines()
            )

        await eventually(said)
        await chat.say("anew")
        assert (await chat.idle())[0][1] == "anew"


async def test_log_lines_name_chat_and_turn(chat: Chat, gate: Gate, application: Service) -> None:
    """What the log says of a chat names it and the turn."""
    await chat.say("second", "INTERRUPT")
    gate.open()
    await chat.idle()

    own = [line.split(":chat:")[1] for line in application.log_lines() if ":chat:" in line and chat.key in line]
    assert own == [
        f"Starting new agent run for {chat.key} (turn 1)",
        f"Interrupting ongoing agent run for {chat.key} (turn 1)",
        f"Starting new agent run for {chat.key} (turn 2)",
    ]


async def test_forgotten_chat_starts_afresh(chat: Chat, gate: Gate) -> None:
    """A message right behind `forget` starts turn 1 of a chat without a past."""
    await chat.call("forget")
    receipt = await chat.say("anew", message_id="m")
    gate.open()
    lines = await chat.idle()

    assert receipt["turn_id"] == 1
    assert lines == [("user", "anew", "completed"), ("assistant", "answer to: anew", "completed")]
    assert chat.requests[-1].user_texts == ["anew"]


async def test_one_message_id_sent_by_many_at_once_is_one_message(chat: Chat) -> None:
    """Clients that repeat a message side by side all get the receipt of the one that was stored."""
    receipts = await asyncio.gather(*(chat.say("once", message_id="same") for _ in range(30)))
    assert {receipt["turn_id"] for receipt in receipts} == {1}
    assert [content for role, content, _ in await chat.idle() if role == "user"] == ["once"]
