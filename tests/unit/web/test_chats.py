"""`app/web/chats.py` and `caller.py`: what reaches which handler of which chat, and whose chats they are."""

from typing import Any
from urllib.parse import quote

import pytest

from app.chat import chat_service
from app.web.chats import CHANGES
from tests.support.gateway import ALICE, BOB, TOKENS, FakeIngress, bearer, gateway

KEYS = [
    "ellie",
    "a/b",
    "a%2Fb",
    "..",
    ".",
    "...",
    "é ü",
    "日本",
    "a b+c",
    "100%",
    "a?b#c",
    "a'b\"c",
    "\\",
    "a:b",
    "😀",
    "%2e%2e",
]


def test_every_handler_for_people_has_a_route() -> None:
    """What curl can do at Restate's ingress, clients can do at the gateway."""
    for_people = {name for name, each in chat_service.handlers.items() if not each.ingress_private}
    others = {"process_user_message", "get_chat_history", "get_status", "look", "preview_rollback"}
    assert set(CHANGES) == for_people - others


@pytest.fixture
def restate() -> FakeIngress:
    return FakeIngress()


@pytest.mark.parametrize("key", KEYS)
async def test_any_key_reaches_its_chat(key: str, restate: FakeIngress) -> None:
    """A key arrives at Restate as it was meant, however it has to be written in a path."""
    path = quote(key, safe="") if key.strip(".") else key.replace(".", "%2E")
    async with gateway(restate) as http:
        await http.get(f"/chats/{path}/status")
        await http.post(f"/chats/{path}/stop", json={"turn_id": 1})
    assert restate.calls == [(key, "get_status", {}), (key, "stop", {"turn_id": 1})]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("a" * 257, 400),
        (quote("é" * 257), 400),
        ("", 404),
        ("%00", 400),
        ("a%0Ab", 400),
        ("%1B", 400),
        ("%FF", 400),
        ("%C3", 400),
        ("%", 400),
        ("%zz", 400),
        ("%ED%A0%80", 400),
    ],
)
async def test_what_is_no_key_is_refused(path: str, status: int, restate: FakeIngress) -> None:
    """A key that is too long, empty, or cannot be carried is refused with a sentence."""
    async with gateway(restate) as http:
        answer = await http.get(f"/chats/{path}/status")
    assert (answer.status_code, restate.calls) == (status, [])
    assert answer.json()["error"]["message"]


async def test_handlers_get_what_was_sent(restate: FakeIngress) -> None:
    """Each change is a POST of its own name, and answers what the handler answers."""
    restate.answers = {"set_mode": {"mode": "QUEUE"}, "forget": None}
    async with gateway(restate) as http:
        assert (await http.post("/chats/a/set_mode", json={"mode": "QUEUE"})).json() == {"mode": "QUEUE"}
        assert (await http.post("/chats/a/forget", json={})).json() == {}
        await http.post("/chats/a/edit_queued_message", json={"message_id": "m", "content": "x"})
        await http.get("/chats/a?before_turn=5&limit=2")
    assert [call[1:] for call in restate.calls] == [
        ("set_mode", {"mode": "QUEUE"}),
        ("forget", {}),
        ("edit_queued_message", {"message_id": "m", "content": "x"}),
        ("get_chat_history", {"before_turn": 5, "limit": 2}),
    ]


async def test_private_handlers_have_no_route(restate: FakeIngress) -> None:
    """What only AgentSession says to a chat cannot be said here."""
    async with gateway(restate) as http:
        for handler in ("begin_turn", "end_turn", "record", "process_user_message", "erase_journals"):
            assert (await http.post(f"/chats/a/{handler}", json={})).status_code == 404
    assert restate.calls == []


async def test_half_an_emoji_is_sent_on(restate: FakeIngress) -> None:
    """A lone surrogate, as browsers write it, becomes U+FFFD; nesting without end behind it is refused."""
    headers = {"content-type": "application/json"}
    async with gateway(restate) as http:
        sent = await http.post("/chats/a/set_mode", content=rb'{"mode": "a \ud800 b"}', headers=headers)
        deep = rb'{"mode": "\ud800", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        refused = await http.post("/chats/a/set_mode", content=deep, headers=headers)
    assert sent.status_code == 200, sent.text
    assert [call[2] for call in restate.calls] == [{"mode": "a \ufffd b"}]
    assert refused.status_code == 400


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "before_turn=-1", "limit=201", "nothing=1"])
async def test_a_wrong_page_is_refused(query: str, restate: FakeIngress) -> None:
    """A page of the history that cannot be is refused with what is wrong."""
    async with gateway(restate) as http:
        assert (await http.get(f"/chats/a?{query}")).status_code == 400
    assert restate.calls == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/chats?limit=0", "from 1 to 200"),
        ("/chats?limit=201", "from 1 to 200"),
        ("/chats?limit=-1", "must not be negative"),
        ("/chats?limit=x", "no whole number"),
    ],
)
async def test_a_wrong_length_of_the_list_is_refused(path: str, words: str, restate: FakeIngress) -> None:
    """A list is as long as was asked for, or the answer says how long it may be."""
    async with gateway(restate) as http:
        answer = await http.get(path)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_a_wait_is_not_negative(restate: FakeIngress) -> None:
    """A wait below zero is refused for what it is, and no message is sent."""
    async with gateway(restate) as http:
        answer = await http.post("/chats/a/messages?wait=-1", json={"content": "x"})
    assert (answer.status_code, "must not be negative" in answer.json()["error"]["message"]) == (400, True)
    assert restate.calls == []


async def test_every_message_has_an_id(restate: FakeIngress) -> None:
    """A message without an id gets one, and keeps one that it has."""
    async with gateway(restate) as http:
        await http.post("/chats/a/messages", json={"content": "x"})
        await http.post("/chats/a/messages", json={"content": "x", "message_id": None})
        await http.post("/chats/a/messages", json={"content": "x", "message_id": "mine"})
    first, second, third = (body["message_id"] for _, _, body in restate.calls)
    assert (len(first), len(second), third) == (32, 32, "mine")


FOREIGN = [
    "bob",
    "Alice",
    "ALICE:x",
    "alice2",
    "alice%3Ax",
    " alice",
    "alice ",
    "alic",
    "alice.x",
    "alice/../bob",
    "../bob",
    "..",
    "bob:alice",
    "alice\u200b",
    "ａlice",
    "аlice:x",
    "%61lice",
    "alice%00",
    "",
]


@pytest.mark.parametrize("key", FOREIGN)
async def test_a_foreign_chat_cannot_be_reached(key: str, restate: FakeIngress) -> None:
    """With tokens, no route leads to a chat of another user, and the answer does not tell whether there is one."""
    path = quote(key, safe="").replace(".", "%2E")
    async with gateway(restate, web_tokens=TOKENS) as http:
        for route in ("", "/status", "/messages", "/stop", "/resolve_approval", "/forget", "/set_mode"):
            method, body = ("GET", None) if route in ("", "/status") else ("POST", {"content": "x"})
            answer = await http.request(method, f"/chats/{path}{route}", headers=bearer(ALICE), json=body)
            if key:
                assert answer.json() == {"error": {"status": 403, "message": "This is not allowed."}}
            assert answer.status_code in ((403,) if key else (404, 405))
    assert restate.calls == []


@pytest.mark.parametrize(
    "path", ["alice%252Fbob", "alice:%2e%2e%2fbob", "%61lice", "alice:..", "alice:a/b".replace("/", "%2F")]
)
async def test_tricks_stay_in_ones_own_chats(path: str, restate: FakeIngress) -> None:
    """A key is decoded once: what looks like a way to another chat is a name of one's own, or not allowed."""
    async with gateway(restate, web_tokens=TOKENS) as http:
        answer = await http.get(f"/chats/{path}/status", headers=bearer(ALICE))
    if answer.status_code == 200:
        (request,) = restate.requests
        assert request.url.raw_path.startswith((b"/ChatService/alice/", b"/ChatService/alice%3A"))
        assert request.url.raw_path.count(b"/") == 3
    else:
        assert (answer.status_code, restate.calls) == (403, [])


async def test_ones_own_chats_can_be_reached(restate: FakeIngress) -> None:
    """A user has the chat of their name, and all that begin with it and a colon."""
    async with gateway(restate, web_tokens=TOKENS) as http:
        for key in ("alice", "alice:", "alice:work", "alice:a/b", "alice:bob"):
            assert (await http.get(f"/chats/{quote(key, safe='')}/status", headers=bearer(ALICE))).status_code == 200
        assert (await http.get("/chats/bob/status", headers=bearer(BOB))).status_code == 200


async def test_a_user_with_a_colon_is_no_other_user(restate: FakeIngress) -> None:
    """The chats of `a` and those of a user who is called `a/b` or `a b` are apart: names are quoted in keys."""
    tokens = f"a:{ALICE},a b/ü:{BOB}"
    async with gateway(restate, web_tokens=tokens) as http:
        me = (await http.get("/me", headers=bearer(BOB))).json()
        assert me["default_chat"] == "a%20b%2F%C3%BC"
        path = quote(me["default_chat"], safe="")
        assert (await http.get(f"/chats/{path}/status", headers=bearer(BOB))).status_code == 200
        assert (await http.get(f"/chats/{path}/status", headers=bearer(ALICE))).status_code == 403
        assert (await http.get("/chats/a%20b%2F%C3%BC/status", headers=bearer(BOB))).status_code == 403


async def test_who_am_i() -> None:
    """`/me` says who the caller is, how we know, and which chat is theirs."""
    async with gateway() as http:
        nobody: dict[str, Any] = (await http.get("/me")).json()
    async with gateway(web_tokens=TOKENS, web_operators="bob") as http:
        alice = (await http.get("/me", headers=bearer(ALICE))).json()
        bob = (await http.get("/me", headers=bearer(BOB))).json()
    assert nobody == {"user": None, "auth": "none", "default_chat": "ellie", "operator": True}
    assert alice == {"user": "alice", "auth": "token", "default_chat": "alice", "operator": False}
    assert bob["operator"] is True


async def test_only_operators_see_background_agents(restate: FakeIngress) -> None:
    """A user who is no operator gets 403, whatever agents there are."""
    async with gateway(restate, web_tokens=TOKENS, web_operators="bob") as http:
        assert (await http.get("/agents", headers=bearer(ALICE))).status_code == 403
