"""Images in messages of other clients: stored first, and shown to the LLM."""

import base64

import httpx
from openai import AsyncOpenAI

from tests.protocols.conftest import Site
from tests.protocols.test_openai import MODEL, client  # noqa: F401 - a fixture
from tests.support.chat import Chat
from tests.support.llm_server import Plan
from tests.unit.files.test_kinds import PNG

URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def sent_image(chat: Chat) -> str:
    """Return the image that the LLM was sent."""
    (url,) = [p["image_url"]["url"] for p in chat.requests[-1].messages[-1]["content"] if p["type"] == "image_url"]
    return str(url)


async def test_by_chat_completions(client: AsyncOpenAI, chat: Chat) -> None:  # noqa: F811
    """An image of a message reaches the LLM; the same message, sent again, has the same answer."""
    chat.script_by(lambda _: Plan(text=["A dot."]))
    for _ in range(2):
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": URL}}],
                }
            ],
            extra_headers={"X-Message-Id": "m-1"},
        )
        assert answer.choices[0].message.content == "A dot."
    assert len(chat.requests) == 1
    assert sent_image(chat) == URL
    assert (await chat.entries())[0]["attachments"][0]["media_type"] == "image/png"


async def test_by_agui(chat: Chat, site: Site, http: httpx.AsyncClient) -> None:
    """So does one of a run of AG-UI."""
    chat.script_by(lambda _: Plan(text=["A dot."]))
    source = {"type": "data", "value": URL.partition(",")[2], "mimeType": "image/png"}
    content = [{"type": "text", "text": "look"}, {"type": "image", "source": source}]
    run = {"threadId": chat.key, "runId": "r", "messages": [{"id": "m", "role": "user", "content": content}]}
    answer = await http.post(f"{site.url}/agent/default/run", json=run)
    assert "RUN_FINISHED" in answer.text
    assert sent_image(chat) == URL


async def test_nothing_is_fetched(chat: Chat, site: Site, http: httpx.AsyncClient) -> None:
    """An address of another server is refused, and no turn begins."""
    content = [{"type": "image_url", "image_url": {"url": f"{site.url}/health"}}]
    body = {"messages": [{"role": "user", "content": content}]}
    answer = await http.post(f"{site.url}/v1/chat/completions", json=body, headers={"X-Chat-Id": chat.key})
    assert (answer.status_code, "nothing is fetched" in answer.text) == (400, True)
    assert (await chat.status())["last_turn_id"] == 0
