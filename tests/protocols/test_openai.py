"""The `openai` package as a client of the application."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, NotFoundError

from tests.protocols.conftest import Site
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Call, Gate, Plan
from tests.support.process import free_port
from tests.support.service import Service

MODEL = "interruptible-agent"


def client_of(url: str, **headers: str) -> AsyncOpenAI:
    """A client as programs make it, with these headers."""
    http = httpx2.AsyncClient(trust_env=False)
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", default_headers=headers, http_client=http)


@pytest_asyncio.fixture
async def client(site: Site, chat: Chat) -> AsyncIterator[AsyncOpenAI]:
    """A client that names the chat in a header."""
    async with client_of(site.url, **{"X-Chat-Id": chat.key}) as client:
        yield client


async def ask(client: AsyncOpenAI, content: str, **headers: str) -> str:
    """Send a message; return the whole answer."""
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": content}],
        extra_headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content or ""


async def stream(client: AsyncOpenAI, content: str, **headers: str) -> list[str]:
    """Send a message; return the pieces of the answer."""
    chunks = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": content}],
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    return [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]


async def test_the_models(client: AsyncOpenAI) -> None:
    """The agent is the one model."""
    assert [model.id async for model in client.models.list()] == [MODEL]


async def test_one_model(client: AsyncOpenAI) -> None:
    """The model can be asked for by its name; any other is not there, in the shape of OpenAI's errors."""
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(NotFoundError, match="the only one is"):
        await client.models.retrieve("gpt/5")


async def test_an_answer(client: AsyncOpenAI, chat: Chat) -> None:
    """The answer of the turn comes with its tokens, and the turn is in the chat."""
    chat.script(Plan(text=["Hello", " there."]))
    answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == "Hello there."
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (10, 5)
    assert await chat.lines() == [("user", "hi", "completed"), ("assistant", "Hello there.", "completed")]


async def test_a_streamed_answer(client: AsyncOpenAI, chat: Chat) -> None:
    """Text is streamed while it is written, then a finish_reason, then the tokens."""
    gate = Gate()
    chat.script(Plan(text=["Let me see."], calls=[Call()]), Plan(text=["Done."], gate=gate))
    chunks = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    said, finished, usage = "", None, None
    async for chunk in chunks:
        for choice in chunk.choices:
            said += choice.delta.content or ""
            finished = choice.finish_reason or finished
        usage = chunk.usage or usage
        if said == "Let me see.":
            gate.open()
    assert (said, finished) == ("Let me see.\n\nDone.", "stop")
    assert usage is not None
    assert usage.total_tokens == 30


async def test_thoughts_and_their_tokens(client: AsyncOpenAI, chat: Chat) -> None:
    """What the model thinks is `reasoning_content`, streamed or whole; usage has what was cached and thought."""
    chat.script(*[Plan(text=["Yes."], thoughts=["Let me", " see."], details=(4, 3))] * 2)
    chunks = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True, stream_options={"include_usage": True}
    )
    thought, said, usage = "", "", None
    async for chunk in chunks:
        for choice in chunk.choices:
            said += choice.delta.content or ""
            thought += (choice.delta.model_extra or {}).get("reasoning_content") or ""
        usage = chunk.usage or usage
    assert (thought, said) == ("Let me see.", "Yes.")
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 4
    answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "again"}])
    assert (answer.choices[0].message.model_extra or {})["reasoning_content"] == "Let me see."
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 3


async def test_only_the_last_message_counts(client: AsyncOpenAI, chat: Chat) -> None:
    """What a client sends of the conversation is not taken again: the chat has it."""
    await ask(client, "first")
    await client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "of the client"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "answer to: first"},
            {"role": "user", "content": "second"},
        ],
    )
    assert chat.requests[1].user_texts == ["first", "second"]


async def test_a_repeated_message(client: AsyncOpenAI, chat: Chat) -> None:
    """A message with an id that the chat has is not answered twice; its answer comes again, streamed or not."""
    first = await ask(client, "hi", X_Message_Id="m-1")
    assert await ask(client, "hi", X_Message_Id="m-1") == first
    assert "".join(await stream(client, "hi", X_Message_Id="m-1")) == first
    assert len(chat.requests) == 1


async def test_the_chat_in_the_metadata(site: Site, chat: Chat) -> None:
    """Who cannot set headers names the chat in the metadata."""
    async with client_of(site.url) as client:
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], metadata={"chat_id": chat.key}
        )
    assert len(await chat.entries()) == 2


async def test_no_chat(site: Site, chat: Chat) -> None:
    """A request without a chat says how to name one."""
    async with client_of(site.url, **{"X-Chat-Id": "{{CHAT_ID}}"}) as client:
        with pytest.raises(openai.BadRequestError, match="X-Chat-Id"):
            await ask(client, "hi")
    assert await chat.entries() == []


async def test_a_task_leaves_no_trace(client: AsyncOpenAI, chat: Chat) -> None:
    """A title is the LLM's own answer to the messages as they are; the chat knows nothing of it."""
    chat.script(Plan(text=["A title"]), Plan(text=["Another"]))
    assert await ask(client, "Find a title", X_Task="title_generation") == "A title"
    assert "".join(await stream(client, "Find a title", X_Task="title_generation")) == "Another"
    assert chat.requests[0].tool_names == []
    assert chat.requests[0].messages[-1] == {"role": "user", "content": "Find a title"}
    assert await chat.entries() == []


async def test_the_mode_of_a_message(client: AsyncOpenAI, chat: Chat) -> None:
    """A message that steers an open turn gets what that turn says after it, and nothing from before."""
    chat.script(Plan(text=["slow", " never"], hang_after=1))
    first = asyncio.create_task(stream(client, "first"))
    await chat.streaming(1)
    chat.script(Plan(text=["turned"]))
    assert await ask(client, "second", X_Mode="steer") == "turned"
    assert "".join(await first) == "slow\n\nturned"


async def test_a_text_that_begins_anew(client: AsyncOpenAI, chat: Chat) -> None:
    """What a retry repeats is not sent twice."""
    chat.script(Plan(text=["Hel", "lo", " there"], break_after=2, gap_s=0.05), Plan(text=["Hello", " again"]))
    assert "".join(await stream(client, "hi")) == "Hello again"


async def test_a_text_that_begins_otherwise(client: AsyncOpenAI, chat: Chat) -> None:
    """What a retry writes otherwise comes whole, behind a line: what was sent cannot be taken back."""
    chat.script(Plan(text=["Hel", "lo", " there"], break_after=2, gap_s=0.05), Plan(text=["Good", " day"]))
    assert "".join(await stream(client, "hi")) == "Hello\n\n---\n\nGood day"


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_turn_that_fails(client: AsyncOpenAI, chat: Chat, streamed: bool) -> None:
    """The error says why, and the client does not send the message again."""
    chat.script(Plan(status=400, error={"error": {"message": "no such model"}}))
    with pytest.raises(openai.APIError, match="The turn failed"):
        await (stream(client, "hi") if streamed else ask(client, "hi"))
    assert [line[0] for line in await chat.lines()] == ["user", "system"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "role `user`"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "nothing is fetched",
        ),
        ({"messages": [{"role": "user", "content": "hi"}], "n": 2}, "one answer"),
        ({"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object"}}, "plain text"),
        ({"messages": []}, "messages"),
    ],
)
async def test_what_cannot_be_done(site: Site, chat: Chat, fields: dict[str, object], why: str) -> None:
    """It is refused with a sentence in OpenAI's shape, and nothing is stored."""
    answer = await chat._http.post(
        f"{site.url}/v1/chat/completions", json={"model": MODEL, **fields}, headers={"x-chat-id": chat.key}
    )
    assert answer.status_code == 400
    assert why in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert await chat.entries() == []


async def test_going_away_stops_nothing(client: AsyncOpenAI, chat: Chat) -> None:
    """By default a connection that closes leaves the turn alone."""
    gate = Gate()
    chat.script(Plan(text=["the answer"], gate=gate))
    asking = asyncio.create_task(stream(client, "hi"))
    await chat.asked(1)
    asking.cancel()
    gate.open()
    assert ("assistant", "the answer", "completed") in await chat.idle()


@pytest_asyncio.fixture
async def other_site(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a second gateway before the same chats, which stops turns of clients that go away."""
    port = free_port()
    settings = site.restate.settings | {"WEB_PORT": str(port), "OPENAI_STOP_ON_DISCONNECT": "true"}
    service = Service(tmp_path_factory.mktemp("other"), **settings)
    try:
        await service.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        service.kill9()


@pytest.mark.parametrize("streamed", [True, False])
async def test_going_away_stops_the_turn_if_told(other_site: str, chat: Chat, streamed: bool) -> None:
    """With OPENAI_STOP_ON_DISCONNECT the turn of the message stops, and a message of somebody else goes on."""
    chat.script(Plan(text=["never"], gate=Gate()))
    async with client_of(other_site, **{"X-Chat-Id": chat.key}) as client:
        asking = asyncio.create_task(stream(client, "first") if streamed else ask(client, "first"))
        await chat.asked(1)
        asking.cancel()

        async def stopped() -> bool:
            assert ("user", "first", "interrupted") in await chat.lines()
            return True

        await eventually(stopped)


async def test_the_offline_model(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without any LLM the endpoint works too: what a newcomer tries first."""
    port = free_port()
    settings = site.restate.settings | {"WEB_PORT": str(port), "OFFLINE_PACE_S": "0.05", "TASK_DURATION_S": "0.05"}
    try:
        async with (
            site.restate.serving(Service(tmp_path_factory.mktemp("offline"), **settings)),
            client_of(f"http://127.0.0.1:{port}", **{"X-Chat-Id": "offline"}) as client,
        ):
            said = "".join(await stream(client, "bake a cake"))
            assert said.endswith("Done: bake a cake.")
    finally:
        await site.restate.register(site.service.url)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_that_waits_for_approval(client: AsyncOpenAI, chat: Chat, streamed: bool) -> None:
    """The answer ends with what is asked and how to decide; repeated after that, the message has the whole answer."""
    call = Call("pay", json.dumps({"amount": 100, "to": chat.key}), "call_1")
    chat.script(Plan(text=["I pay."], calls=[call], finish_reason="tool_calls"), Plan(text=["All done."]))
    headers = {"X_Message_Id": "m-1"}
    said = "".join(await stream(client, "pay", **headers)) if streamed else await ask(client, "pay", **headers)

    assert said.startswith("I pay.\n\n---\n\nThe agent waits for your approval of `pay` with\n\n    {")
    [body] = [json.loads(line) for line in said.splitlines() if "approval_id" in line]
    assert f"/chats/{chat.key}/resolve_approval" in said
    assert (await chat.call("resolve_approval", **body))["result"] == "applied"
    await chat.idle()
    assert await ask(client, "pay", **headers) == "I pay.\n\nAll done."
