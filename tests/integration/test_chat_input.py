"""Input that does not fit, handlers that are not for clients, and what the discovery tells (invariant 11)."""

import json
from urllib.parse import quote

import pytest

from tests.support.chat import Chat
from tests.support.process import local_http

SAY = "process_user_message"


@pytest.mark.parametrize(
    ("handler", "body", "status", "words"),
    [
        (SAY, b"null", 400, ["content: Field required", "Send for example"]),
        (SAY, b"{}", 400, ["content: Field required", '"role": "user"']),
        (SAY, b'{"content": ""}', 400, ["content: String should have at least 1 character"]),
        (SAY, b'{"content": " \\n\\t "}', 400, ["content: String should have at least 1 character"]),
        (SAY, b'{"content": 7}', 400, ["content: Input should be a valid string, got '7'"]),
        (SAY, b'{"content": null}', 400, ["content: Input should be a valid string"]),
        (SAY, b'{"content": "x", "role": "assistant"}', 400, ["role: Input should be 'user', got 'assistant'"]),
        (SAY, b'{"content": "x", "mode": "SHOUT"}', 400, ["mode: Input should be 'INTERRUPT', ", "got 'SHOUT'"]),
        (SAY, b'{"content": "x", "mode": "queue"}', 400, ["mode: Input should be 'INTERRUPT', ", "got 'queue'"]),
        (SAY, b'{"content": "x", "mesage_id": "1"}', 400, ["mesage_id: Extra inputs are not permitted"]),
        (SAY, b'{"content": "x", "message_id": ""}', 400, ["message_id: String should have at least 1 character"]),
        (SAY, b'{"content": "x", "message_id": 5}', 400, ["message_id: Input should be a valid string"]),
        (SAY, b"hello", 400, ["the body: Invalid JSON", "Send for example"]),
        (SAY, b'{"content": "x"', 400, ["the body: Invalid JSON"]),
        (SAY, b"\xff\xfe", 400, ["the body: Invalid JSON"]),
        (SAY, b'[{"content": "x"}]', 400, ["the body: Input should be an object", "Send for example"]),
        (SAY, b'"x"', 400, ["the body: Input should be an object"]),
        (SAY, b'{"content": "%s"}' % (b"x" * 1001), 413, ["1001 characters", "MAX_MESSAGE_CHARS"]),
        (SAY, b'{"content": ' + b"[" * 100_000, 400, ["the body: Invalid JSON: recursion limit exceeded"]),
        (SAY, b'{"content": "\\ud800"}', 400, ["the body: Invalid JSON"]),
        (SAY, b'{"content": "x", "\\u0000": 1}', 400, ["\\x00: Extra inputs are not permitted"]),
        (SAY, b'{"content": "%s"}' % (b"x" * 30_000_000), 413, ["30000015 bytes"]),
        (SAY, json.dumps({f"f{n}": n for n in range(100_000)}).encode(), 400, ["f8: Extra", "; and 99991 more."]),
        ("get_status", b'{"turn": 1}', 400, ["turn: Extra inputs are not permitted"]),
        ("get_status", b"x" * 30_000_000, 413, ["30000000 bytes"]),
        ("forget", b"hello", 400, ["the body: Invalid JSON"]),
        ("get_chat_history", b'{"limit": 0}', 400, ["limit: Input should be greater than 0, got '0'"]),
        ("get_chat_history", b'{"limit": 201}', 400, ["limit: Input should be less than or equal to 200"]),
        ("get_chat_history", b'{"before_turn": "x"}', 400, ["before_turn: Input should be a valid integer"]),
        ("stop", b'{"turn_id": 0}', 400, ["turn_id: Input should be greater than 0"]),
        ("stop", b'{"turn": 1}', 400, ["turn: Extra inputs are not permitted"]),
        ("set_mode", b"{}", 400, ["mode: Field required", '"QUEUE"']),
        ("set_mode", b'{"mode": "SHOUT"}', 400, ["mode: Input should be 'INTERRUPT', ", "got 'SHOUT'"]),
        ("edit_queued_message", b'{"message_id": "x"}', 400, ["content: Field required"]),
        ("withdraw_queued_message", b"{}", 400, ["message_id: Field required"]),
        ("promote_queued_message", b"{}", 400, ["message_id: Field required"]),
    ],
)
async def test_bad_input(chat: Chat, handler: str, body: bytes, status: int, words: list[str]) -> None:
    """Bad input is 4xx with a sentence that names the field, the value and the cure; nothing is stored."""
    answer = await chat.post(handler, content=body)

    assert answer.status_code == status, answer.text
    for each in words:
        assert each in answer.json()["message"]
    assert await chat.state() == {}


@pytest.mark.parametrize(
    ("handler", "field"), [(SAY, "content"), ("set_mode", "mode"), ("withdraw_queued_message", "message_id")]
)
async def test_missing_body(chat: Chat, handler: str, field: str) -> None:
    """A missing body where input is needed is 400 with the field that is missing; one that calls itself JSON is refused
    by the ingress already. Nothing is stored."""
    without_type = await chat.post(handler)
    as_json = await chat.post(handler, content=b"")

    assert (without_type.status_code, as_json.status_code) == (400, 400)
    assert f"{field}: Field required. Send for example " in without_type.json()["message"]
    assert "Empty body not allowed" in as_json.json()["message"]
    assert await chat.state() == {}


async def test_chat_goes_on_after_bad_input(chat: Chat) -> None:
    """Bad input to a busy chat changes nothing of it."""
    await chat.say("first")
    answer = await chat.post(SAY, {"content": "", "mode": "INTERRUPT"})
    assert answer.status_code == 400

    assert await chat.idle() == [("user", "first", "completed"), ("assistant", "answer to: first", "completed")]


async def test_text_is_trimmed_and_otherwise_kept(chat: Chat) -> None:
    """Surrounding blanks are cut off; everything else of a text arrives as it was sent."""
    text = 'Grüße 👋 "quoted" \\ \n\n second\u0000 paragraph {"json": 1}'
    await chat.say(f"  {text}\n ")
    lines = await chat.idle()

    assert lines[0][1] == text
    assert chat.requests[0].user_texts == [text]


async def test_message_of_the_longest_length(chat: Chat) -> None:
    """A message of exactly the limit is taken."""
    await chat.say("x" * 1000)
    assert len((await chat.idle())[0][1]) == 1000


@pytest.mark.parametrize("handler", ["get_chat_history", "get_status", "stop", "forget"])
async def test_empty_body_is_taken(chat: Chat, handler: str) -> None:
    """Handlers that need no input take an empty body."""
    answer = await chat.post(handler)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("body", [b"{}", b"null"])
@pytest.mark.parametrize("handler", ["get_chat_history", "get_status", "stop", "forget"])
async def test_empty_object_is_taken(chat: Chat, handler: str, body: bytes) -> None:
    """Handlers without input, or with optional input, take what clients send for nothing."""
    answer = await chat.post(handler, content=body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("key", ["\n", "a\x1b[2J", "\u202eevil", "k" * 257, "k" * 10_000])
async def test_key_that_no_log_shows(chat: Chat, key: str) -> None:
    """A key with control characters, or over 256 characters, is refused by every public handler; nothing is stored."""
    bodies: dict[str, dict[str, object]] = {
        SAY: {"content": "x"},
        "get_chat_history": {},
        "get_status": {},
        "look": {},
        "stop": {},
        "set_mode": {"mode": "QUEUE"},
        "edit_queued_message": {"message_id": "m", "content": "x"},
        "withdraw_queued_message": {"message_id": "m"},
        "promote_queued_message": {"message_id": "m"},
        "hold_queued_message": {"message_id": "m"},
        "resume": {},
        "resolve_approval": {"call_id": "c", "approval_id": "1-a", "decision": "approve"},
        "preview_rollback": {},
        "forget": {},
    }
    async with local_http() as http:
        for handler, body in bodies.items():
            url = f"{chat.server.ingress_url}/ChatService/{quote(key, safe='')}/{handler}"
            answer = await http.post(url, json=body)
            assert (answer.status_code, answer.json()["message"][:7]) == (400, "The key"), answer.text
            assert answer.json()["message"].isprintable()
    assert await chat.server.query(f"SELECT key FROM state WHERE service_key = '{key}'") == []  # noqa: S608 - of the test


@pytest.mark.parametrize("key", ["a/b", "..", "Grüße 👋", " ", "k" * 256, "%2F%00"])
async def test_key_of_any_text(chat: Chat, key: str) -> None:
    """A key may be any printable text: it is the same chat for every handler."""
    async with local_http() as http:
        url = f"{chat.server.ingress_url}/ChatService/{quote(key, safe='').replace('.', '%2E')}"
        assert (await http.post(f"{url}/set_mode", json={"mode": "QUEUE"})).status_code == 200
        assert (await http.post(f"{url}/get_status")).json()["mode"] == "QUEUE"
        assert (await http.post(f"{url}/forget")).status_code == 200


async def test_key_that_is_not_utf8(chat: Chat) -> None:
    """A key that is no text is refused by the ingress."""
    async with local_http() as http:
        answer = await http.post(f"{chat.server.ingress_url}/ChatService/%ff%fe/get_status")
    assert answer.status_code == 400, answer.text


async def test_status_of_an_unknown_chat(chat: Chat) -> None:
    """A chat that never was is idle and empty, and looking at it stores nothing."""
    assert await chat.status() == {"mode": "INTERRUPT", "busy": False, "last_turn_id": 0, "open_turns": [], "held": []}
    assert await chat.entries() == []
    assert await chat.state() == {}


async def test_history_pages(chat: Chat) -> None:
    """History pages back by turns, oldest first, until `next_before_turn` is null."""
    for n in range(1, 6):
        await chat.say(f"message {n}")
        await chat.idle()

    pages: list[list[str]] = []
    before: dict[str, int] = {}
    while True:
        page = await chat.call("get_chat_history", limit=2, **before)
        pages.append([entry["content"] for entry in page["entries"] if entry["role"] == "user"])
        if page["next_before_turn"] is None:
            break
        before = {"before_turn": page["next_before_turn"]}

    assert pages == [["message 4", "message 5"], ["message 2", "message 3"], ["message 1"]]
    beyond = await chat.call("get_chat_history", before_turn=1000, limit=1)
    assert [entry["turn_id"] for entry in beyond["entries"]] == [5, 5]
    before_all = await chat.call("get_chat_history", before_turn=1)
    assert (before_all["entries"], before_all["next_before_turn"]) == ([], None)


# What is not for clients


@pytest.mark.parametrize(
    "path",
    [
        *(f"ChatService/{{key}}/{name}" for name in ("begin_turn", "ready", "take_input", "record", "end_turn")),
        "ChatService/{key}/settle_turn",
        "AgentSession/{key}/run",
        "AgentSession/{key}/settle",
    ],
)
@pytest.mark.parametrize("how", ["", "/send"])
async def test_private_handlers_are_out_of_reach(chat: Chat, path: str, how: str) -> None:
    """A private handler cannot be called nor sent to through the ingress."""
    body = {"turn_id": 1, "invocation_id": "inv_x", "doorbell": "x", "limits": {}}
    async with local_http() as http:
        url = f"{chat.server.ingress_url}/{path.format(key=chat.key)}{how}"
        answer = await http.post(url, json=body)

    assert answer.status_code in (400, 404), answer.text
    assert await chat.invocations() == []


# Discovery


async def test_discovery_describes_every_handler(chat: Chat) -> None:
    """Every public handler has a description, and schemas of what it takes and gives; the private ones are private."""
    async with local_http() as http:
        service = (await http.get(f"{chat.server.admin_url}/services/ChatService")).json()

    handlers = {handler["name"]: handler for handler in service["handlers"]}
    assert service["documentation"]
    public = {name for name, handler in handlers.items() if handler["public"]}
    assert public == {
        "process_user_message",
        "get_chat_history",
        "get_status",
        "look",
        "stop",
        "set_mode",
        "edit_queued_message",
        "withdraw_queued_message",
        "promote_queued_message",
        "hold_queued_message",
        "resume",
        "resolve_approval",
        "preview_rollback",
        "forget",
    }
    for name in public:
        assert handlers[name]["documentation"], name
        if name not in ("get_status", "preview_rollback", "forget"):
            assert handlers[name]["input_json_schema"]["properties"], name
        if name != "forget":
            assert handlers[name]["output_json_schema"], name
    examples = handlers["process_user_message"]["input_json_schema"]["examples"]
    assert examples == [{"role": "user", "content": "do something"}]
