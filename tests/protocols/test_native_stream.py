"""GET /chats/{key}/events over HTTP: watchers who come, go and come back."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.protocols.conftest import Site
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import Plan

WORDS = [f"word{number} " for number in range(300)]


class Watcher:
    """A page in miniature: the texts by message, the turns as sent last, and the cursor."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.events: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self.complete: dict[str, str] = {}
        self.turns: dict[int, Any] = {}
        self.cursor: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the first turn is over."""
        return bool(self.turns.get(1, {}).get("status") == "completed")

    async def watch(self, http: httpx.AsyncClient, *, events: int = 10**9, endless: bool = False) -> None:
        """Take so many events, or those up to the end of the first turn unless it is `endless`; then go away."""
        headers = {"last-event-id": self.cursor} if self.cursor else {}
        async with http.stream("GET", self.url, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for cursor, event in _events(answer):
                self.cursor = cursor
                self._read(event)
                events -= 1
                if events <= 0 or (self.answered and not endless):
                    return

    def _read(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        match event:
            case {"type": "TEXT_MESSAGE_START", "messageId": message_id}:
                self.texts[message_id] = ""
            case {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}:
                self.texts[message_id] += delta
            case {"type": "TEXT_MESSAGE_END", "messageId": message_id}:
                self.complete[message_id] = self.texts[message_id]
            case {"type": "CUSTOM", "name": "turn", "value": turn}:
                self.turns[turn["turn_id"]] = turn


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    cursor = ""
    async for line in answer.aiter_lines():
        if line.startswith("id: "):
            cursor = line[4:]
        elif line.startswith("data: "):
            yield cursor, json.loads(line[6:])


@pytest.fixture
def url(site: Site, chat: Chat) -> str:
    return f"{site.url}/chats/{chat.key}/events"


async def test_the_order_at_join(url: str, chat: Chat, http: httpx.AsyncClient) -> None:
    """Who joins in mid-answer gets the state, the turn, then the text so far."""
    chat.script(Plan(text=["Hello", " there"], hang_after=1))
    await chat.say("hi")
    await chat.streaming(1)
    watcher = Watcher(url)
    async with asyncio.timeout(10):
        await watcher.watch(http, events=4)
    kinds = [event.get("name") or event["type"] for event in watcher.events]
    assert kinds[:2] == ["STATE_SNAPSHOT", "turn"]
    assert "TEXT_MESSAGE_START" in kinds
    await chat.call("stop")
    await chat.idle()


@pytest.mark.parametrize("seed", range(3))
async def test_cuts_lose_and_double_nothing(url: str, chat: Chat, http: httpx.AsyncClient, seed: int) -> None:
    """A watcher whose connection breaks again and again reassembles exactly the text that is recorded."""
    cuts = random.Random(seed)
    chat.script(Plan(text=WORDS, gap_s=0.005))
    await chat.say("hi")
    watcher = Watcher(url)
    async with asyncio.timeout(30):
        while not watcher.answered:
            await watcher.watch(http, events=cuts.randint(1, 40))
    text = "".join(WORDS)
    assert watcher.texts.keys() == {"1-1"}
    assert text.startswith(watcher.texts["1-1"])  # all of it, unless the last cut was in its end: the record has that
    assert watcher.turns[1]["entries"][1]["content"] == text


async def test_watchers_see_the_same(url: str, chat: Chat, http: httpx.AsyncClient) -> None:
    """Watchers of one chat get the same text, wherever they join."""
    chat.script(Plan(text=WORDS[:100], gap_s=0.005))
    watchers = [Watcher(url) for _ in range(10)]
    tasks = [asyncio.create_task(watcher.watch(http)) for watcher in watchers[:5]]
    await chat.say("hi")
    await chat.streaming(1)
    tasks += [asyncio.create_task(watcher.watch(http)) for watcher in watchers[5:]]
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks)
    assert {watcher.complete["1-1"] for watcher in watchers} == {"".join(WORDS[:100])}


async def test_a_forgotten_chat(url: str, chat: Chat, http: httpx.AsyncClient) -> None:
    """A watcher of a chat that is forgotten sees a chat in which nothing was ever said."""
    await chat.say("hi")
    await chat.idle()
    watcher = Watcher(url)
    watching = asyncio.create_task(watcher.watch(http, endless=True))
    await eventually_seen(watcher, lambda event: event.get("name") == "turn")
    await chat.call("forget")
    await eventually_seen(watcher, lambda event: event.get("snapshot", {}).get("last_turn_id") == 0)
    watching.cancel()


async def test_a_chat_that_nobody_has_written_to(url: str, http: httpx.AsyncClient) -> None:
    """An empty chat can be watched."""
    watcher = Watcher(url)
    async with asyncio.timeout(10):
        await watcher.watch(http, events=1)
    assert watcher.events[0]["snapshot"]["last_turn_id"] == 0


async def eventually_seen(watcher: Watcher, holds: Any) -> None:
    async def seen() -> bool:
        assert any(holds(event) for event in watcher.events), watcher.events[-3:]
        return True

    await eventually(seen)
