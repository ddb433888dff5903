"""`app/terminal/`: messages on their way to a gateway that is away, through pipes and from a prompt."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from app.terminal import gateway as gateway_module
from app.terminal import pipe
from app.terminal.commands import Commands
from app.terminal.feed import ChatFeed, Line
from app.terminal.gateway import ChatGateway, Refused
from tests.support.eventually import eventually


class Gateway:
    """A gateway that is there, or away. `got` has what it took, each once, in order."""

    def __init__(self) -> None:
        self.away = False
        self.got: dict[str, str] = {}
        self.attempts = 0
        self.reply: list[dict[str, str]] | None = [{"role": "assistant", "content": "fine"}]
        self.looks: list[list[dict[str, str]]] = []  # the calls that wait for a person, look by look

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.attempts += 1
        if self.away:
            raise httpx.ConnectError("away")
        if request.url.path.endswith("/status"):
            approvals = self.looks.pop(0)
            self.reply = [{"role": "assistant", "content": "paid"}] if not self.looks else None
            return httpx.Response(200, json={"open_turns": [{"approvals": approvals}]})
        body = json.loads(request.content)
        if body["content"] == "bad":
            return httpx.Response(400, json={"error": {"status": 400, "message": "This is bad."}})
        self.got[body["message_id"]] = body["content"]
        return httpx.Response(200, json={"reply": self.reply} if request.url.params.get("wait") else {})

    @property
    def contents(self) -> list[str]:
        return list(self.got.values())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(gateway_module, "_PAUSES_S", (0.001,))
    return Gateway()


@pytest_asyncio.fixture
async def chat(server: Gateway) -> AsyncIterator[ChatGateway]:
    async with ChatGateway("http://gateway.test", "tom") as chat:
        await chat._http.aclose()
        chat._http = httpx.AsyncClient(base_url=chat.url, transport=httpx.MockTransport(server))
        yield chat


async def test_messages_keep_their_order(server: Gateway, chat: ChatGateway) -> None:
    """What is typed in an outage is sent in that order when it is over, and the person is told once of each step."""
    shown: list[Line] = []
    commands = Commands(chat, ChatFeed(), shown.extend)
    server.away = True
    takes = [asyncio.create_task(commands.take(text)) for text in ("one", "two", "three")]
    await eventually(lambda: server.attempts > 5)
    takes.append(asyncio.create_task(commands.take("four")))
    await eventually(lambda: len(shown) == 4)
    assert commands.unsent == ["one", "two", "three", "four"]
    assert [line.text.partition(" (")[0] for line in shown] == [
        f"Not sent yet, tried again until it is: {text}" for text in commands.unsent
    ]

    server.away = False
    assert await asyncio.gather(*takes) == [[], [], [], []]

    assert server.contents == ["one", "two", "three", "four"]
    assert [line.text for line in shown[4:]] == ["Sent: one", "Sent: two", "Sent: three", "Sent: four"]
    assert commands.unsent == []


async def test_a_message_without_trouble_says_nothing(server: Gateway, chat: ChatGateway) -> None:
    """Without an outage there is no word of sending; bytes that are no text become replacements."""
    shown: list[Line] = []
    commands = Commands(chat, ChatFeed(), shown.extend)
    assert await commands.take("caf\udce9") == []
    assert (server.contents, shown) == (["caf\ufffd"], [])


async def test_a_refused_message_holds_up_nobody(server: Gateway, chat: ChatGateway) -> None:
    """A message that the gateway refuses is named as not sent, with the reason; the next one goes its way."""
    shown: list[Line] = []
    commands = Commands(chat, ChatFeed(), shown.extend)
    assert await commands.take("bad") == [Line("error", "This is bad.")]
    assert shown == [Line("error", "Not sent: bad")]
    assert await commands.take("good") == []
    assert (server.contents, commands.unsent) == (["good"], [])


async def test_a_message_in_an_outage_is_unsent_at_the_end(server: Gateway, chat: ChatGateway) -> None:
    """Whoever leaves in an outage can be told what was not sent."""
    commands = Commands(chat, ChatFeed(), lambda _: None)
    server.away = True
    take = asyncio.create_task(commands.take("one"))
    await eventually(lambda: server.attempts > 2)
    take.cancel()
    await asyncio.gather(take, return_exceptions=True)
    assert commands.unsent == ["one"]


async def test_a_pipe_gives_up(
    server: Gateway, chat: ChatGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe says at once that it tries again, and after its time what was not sent, with an exit code."""
    monkeypatch.setattr(pipe, "GIVE_UP_S", 0.05)
    server.away = True
    assert await pipe.run(chat, ["hello\n", "again\n"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].endswith("Trying again for 0.05 s…")
    assert "does not answer" in lines[1]
    assert lines[2:] == ["not sent: hello"]


async def test_a_pipe_takes_any_bytes(server: Gateway, chat: ChatGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Halves of characters in the input are replaced, and the lines behind them are sent."""
    assert await pipe.run(chat, ["caf\udce9\n", "two\n"]) == 0
    assert server.contents == ["caf\ufffd", "two"]
    assert capsys.readouterr().out == "fine\nfine\n"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "nonsense", "", "ftp://host", "http://", "http://[::1", "http://a:b"]
)
def test_an_address_that_is_none(url: str) -> None:
    """Where no gateway can be, the client says so at once, and what an address looks like."""
    with pytest.raises(Refused, match="http://HOST:PORT"):
        ChatGateway(url, "tom")


async def test_a_server_that_is_no_gateway(chat: ChatGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A web server of another kind is not waited for: the client says that it is no gateway."""
    page = httpx.MockTransport(lambda _: httpx.Response(200, html="<p>hello</p>"))
    await chat._http.aclose()
    chat._http = httpx.AsyncClient(base_url=chat.url, transport=page)
    assert await pipe.run(chat, ["hello\n"]) == 1
    assert capsys.readouterr().err == "http://gateway.test is no gateway: check --url or WEB_URL.\nnot sent: hello\n"


async def test_pipes_tell_who_is_asked(server: Gateway, chat: ChatGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """While an answer waits for a person, each call is told of once, on stderr; the answer comes in the end."""
    pay = {"approval_id": "1-a", "name": "pay\x1b"}
    server.reply, server.looks = None, [[pay], [pay, pay | {"approval_id": "1-b"}], []]
    assert await pipe.run(chat, ["pay"]) == 0
    out, err = capsys.readouterr()
    assert (out, err.count("The call pay\\x1b waits for your approval")) == ("paid\n", 2)
