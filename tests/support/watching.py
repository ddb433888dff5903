"""Somebody who watches a chat of `watched_main.py`, and what they see."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_jsonable_python

from app.hosting.stack import ROOT
from app.web.watch import Views
from tests.support.eventually import eventually
from tests.support.llm_server import delta
from tests.support.process import local_http

WATCHED_MAIN = ROOT / "tests" / "support" / "watched_main.py"


@dataclass
class Seen:
    """One event: its kind, its fields, and when the watcher had it. Times are `time.monotonic()`."""

    kind: str
    event: dict[str, Any]
    at: float


@dataclass
class Watching:
    """What one watcher saw, checked as it comes: texts have no gaps and no repeats, nothing goes back in time."""

    seen: list[Seen] = field(default_factory=list)
    texts: dict[tuple[int, int, str], str] = field(default_factory=dict)
    open: tuple[int, int, str] | None = None
    turns: dict[int, dict[str, Any]] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def take(self, kind: str, event: dict[str, Any]) -> None:
        self.seen.append(Seen(kind, event, time.monotonic()))
        match kind:
            case "Resync":
                self.texts, self.open = {}, None
            case "CallStarted":
                self._check(self.open is None, f"{self.open} has not ended before {event}")
                self.open = _id(event)
                self._check(self.open not in self.texts, f"{self.open} begins twice")
                self._check(not self._recorded(self.open), f"{self.open} begins, and is in the record")
                self.texts[self.open] = ""
            case "TextAdded":
                which = _id(event)
                self._check(which == self.open, f"text of {which}, but {self.open} runs")
                self._check(event["offset"] == len(self.texts.get(which, "")), f"a gap or a repeat: {event}")
                self.texts[which] = self.texts.get(which, "") + event["text"]
            case "CallEnded":
                self._check(_id(event) == self.open, f"the end of {event}, but {self.open} runs")
                self.open = None
            case "TurnSeen":
                self._take_turn(event["turn"])
            case "StatusSeen":
                self.status = event["status"]

    def _take_turn(self, turn: dict[str, Any]) -> None:
        before = self.turns.get(turn["turn_id"])
        items = [entry for entry in turn["entries"] if "index" in entry]
        if before is not None:
            had = [entry for entry in before["entries"] if "index" in entry]
            self._check(
                [entry["content"] for entry in items[: len(had)]] == [entry["content"] for entry in had],
                f"turn {turn['turn_id']} went back",
            )
        self.turns[turn["turn_id"]] = turn
        if self.open is not None:
            self._check(not self._recorded(self.open), f"the record has {self.open}, which has not ended")

    def _recorded(self, which: tuple[int, int, str]) -> bool:
        turn = self.turns.get(which[0])
        return turn is not None and any(entry.get("index", -1) >= which[1] for entry in turn["entries"])

    def _check(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each.event for each in self.seen if each.kind == kind]

    @property
    def running_text(self) -> str:
        return "" if self.open is None else self.texts[self.open]

    async def until(self, check: Callable[["Watching"], object], timeout_s: float = 15) -> None:
        """Wait until what was seen passes a check. Errors: AssertionError, also for a fault."""

        def holds() -> bool:
            assert not self.faults, self.faults
            assert check(self), [(each.kind, each.event) for each in self.seen[-20:]]
            return True

        await eventually(holds, timeout_s=timeout_s, every_s=0.005)

    async def idle(self, last_turn_id: int, timeout_s: float = 20) -> None:
        """Wait until turn `last_turn_id` is the last one and none is open, and all of them were seen so."""
        await self.until(
            lambda w: (
                w.status
                and not w.status["busy"]
                and w.status["last_turn_id"] == last_turn_id
                and w.turns[last_turn_id]["status"] not in ("queued", "running")
            ),
            timeout_s,
        )

    def answers(self, turn_id: int) -> list[str]:
        """Return what the assistant said in a turn, as the record shows it."""
        return [entry["content"] for entry in self.turns[turn_id]["entries"] if entry["role"] == "assistant"]


@asynccontextmanager
async def watching(url: str, key: str) -> AsyncIterator[Watching]:
    """Watch the chat `key` of the service at `url` until its end; a fault of what was seen is raised."""
    watcher = Watching()
    task = asyncio.create_task(_watch(url, key, watcher))
    try:
        yield watcher
        assert not watcher.faults, watcher.faults
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def watching_from(views: Views, key: str) -> AsyncIterator[Watching]:
    """As `watching`, in this process: a watcher that outlives every service."""
    watcher = Watching()

    async def watch() -> None:
        async with views.watch(key) as events:
            async for event in events:
                watcher.take(type(event).__name__, to_jsonable_python(event))

    task = asyncio.create_task(watch())
    try:
        yield watcher
        assert not watcher.faults, watcher.faults
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(url: str, key: str, watcher: Watching) -> None:
    async with local_http(timeout_s=300) as http, http.stream("GET", f"{url}/watch/{key}") as answer:
        async for line in answer.aiter_lines():
            told = json.loads(line)
            watcher.take(told["type"], told["event"])


def _id(event: dict[str, Any]) -> tuple[int, int, str]:
    text_id = event["text_id"]
    return text_id["turn_id"], text_id["index"], text_id["attempt"]


def stamped(count: int) -> Iterator[bytes]:
    """Yield the body of an answer in `count` pieces of text, each the `time.monotonic()` at which it is sent."""
    for _ in range(count):
        yield f"data: {json.dumps(delta(content=f'{time.monotonic()} '))}\n\n".encode()
    yield f"data: {json.dumps(delta(finish_reason='stop'))}\n\ndata: [DONE]\n\n".encode()


def delays(watcher: Watching) -> list[float]:
    """Return the seconds from the LLM server to a watcher, of each piece of text of `stamped`."""
    texts = [(each.at, each.event["text"]) for each in watcher.seen if each.kind == "TextAdded"]
    return [at - float(sent_at) for at, text in texts for sent_at in text.split()]
