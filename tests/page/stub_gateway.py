"""A stand-in for the gateway, in the test's own process: it speaks the contract, and does what the test tells it.

It owns no rules of chats: a test says which turns there are and which events come.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from app.hosting.stack import ROOT
from tests.support.process import free_port

PAGE = ROOT / "app" / "web" / "page"
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
Json = dict[str, Any]


def user(content: str, index: int = 0, **fields: object) -> Json:
    return {"role": "user", "content": content, "index": index, **fields}


def assistant(content: str, index: int = 1, **fields: object) -> Json:
    return {"role": "assistant", "content": content, "index": index, "partial": False, **fields}


def tool(content: str, call_id: str, index: int, outcome: str = "ok") -> Json:
    return {"role": "tool", "content": content, "tool_call_id": call_id, "index": index, "outcome": outcome}


def turn(turn_id: int, *entries: Json, status: str = "completed", **fields: object) -> Json:
    """Return a TurnView."""
    lines = [{"turn_id": turn_id, "status": status, "partial": False, **entry} for entry in entries]
    return {"turn_id": turn_id, "status": status, "mode": "INTERRUPT", "entries": lines, "error": None, **fields}


@dataclass
class StubChat:
    """One chat: the record as the test set it, and whoever watches."""

    key: str
    turns: list[Json] = field(default_factory=list)
    mode: str = "INTERRUPT"
    waiting: list[Json] = field(default_factory=list)
    held: list[Json] = field(default_factory=list)
    running: list[Json] = field(default_factory=list)  # events that a watcher gets after the record, on joining
    stopping: bool = False
    waiting_for: Json | None = None
    approvals: list[Json] = field(default_factory=list)
    preview: Json = field(default_factory=lambda: {"turn_id": None, "undone": [], "irreversible": []})
    summary: tuple[int, str] | None = None  # up to which turn, and what the agent sees of them
    watchers: list["asyncio.Queue[Json | None]"] = field(default_factory=list)
    cursors: list[str | None] = field(default_factory=list)  # what watchers brought along

    @property
    def status(self) -> Json:
        turns = [each for each in self.turns if each["status"] in ("running", "queued")]
        first: list[Json] = [{"stopping": self.stopping, "waiting": self.waiting, "waiting_for": self.waiting_for}]
        if self.approvals:
            first[0]["approvals"] = self.approvals
        rest: list[Json] = [{"stopping": False, "waiting": []}] * max(0, len(turns) - 1)
        opened = [
            {"turn_id": each["turn_id"], "status": each["status"], "invocation_id": "inv", **how}
            for each, how in zip(turns, first + rest, strict=False)
        ]
        return {
            "mode": self.mode,
            "busy": bool(opened),
            "last_turn_id": self.turns[-1]["turn_id"] if self.turns else 0,
            "open_turns": opened,
            "held": self.held,
            **({"summary": {"up_to_turn": self.summary[0], "in_progress": False}} if self.summary else {}),
        }

    def put(self, view: Json) -> None:
        """Put a turn into the record and tell the watchers, the status after it."""
        self.turns = [each for each in self.turns if each["turn_id"] != view["turn_id"]] + [view]
        self.turns.sort(key=lambda each: int(each["turn_id"]))
        self.tell({"type": "CUSTOM", "name": "turn", "value": view})
        self.tell_status()

    def tell_status(self) -> None:
        self.tell({"type": "STATE_SNAPSHOT", "snapshot": self.status})

    def start_text(self, turn_id: int, index: int, attempt: str = "") -> str:
        message_id = f"{turn_id}-{index}{attempt and f'-{attempt}'}"
        raw = {"turnId": turn_id, "index": index}
        self.tell({"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant", "rawEvent": raw})
        return message_id

    def text(self, message_id: str, delta: str) -> None:
        self.tell({"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta})

    def thought(self, message_id: str, delta: str) -> None:
        self.tell({"type": "REASONING_MESSAGE_CONTENT", "messageId": f"{message_id}-reasoning", "delta": delta})

    def end_text(self, message_id: str) -> None:
        self.tell({"type": "TEXT_MESSAGE_END", "messageId": message_id})

    def start_call(self, message_id: str, call_id: str, name: str, arguments: str) -> None:
        start = {"type": "TOOL_CALL_START", "toolCallId": call_id, "toolCallName": name, "parentMessageId": message_id}
        for event in (
            start,
            {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": arguments},
            {"type": "TOOL_CALL_END", "toolCallId": call_id},
        ):
            self.tell(event)

    def tell(self, event: Json) -> None:
        for watcher in self.watchers:
            watcher.put_nowait(event)

    def cut_off(self) -> None:
        """End every stream, as a server that goes away does."""
        for watcher in self.watchers:
            watcher.put_nowait(None)

    def joining(self) -> list[Json]:
        """Return what a watcher gets first."""
        shown = [each for each in self.turns if each["status"] in ("running", "queued")]
        shown += [each for each in self.turns if each not in shown][-1:]
        custom: list[Json] = [{"type": "CUSTOM", "name": "turn", "value": each} for each in shown]
        return [{"type": "STATE_SNAPSHOT", "snapshot": self.status}, *custom, *self.running]


class StubGateway:
    """The server. `posts` is what came; `refuse` maps a handler to the status and sentence that it answers once."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.chats: dict[str, StubChat] = {}
        self.posts: list[tuple[str, str, Json]] = []
        self.gets: list[str] = []
        self.refuse: dict[str, list[tuple[int, str]]] = {}
        self.impossible: dict[str, tuple[int, str]] = {}  # how chats that nobody can open are refused
        self.token: str | None = None
        self.user = "sara"
        self.taken = False  # whether it is too late to change any message
        self.agents: list[Json] = []
        self.outputs: dict[str, list[str]] = {}  # what agents stream
        self._ended = asyncio.Event()

    def chat(self, key: str = "default") -> StubChat:
        return self.chats.setdefault(key, StubChat(key))

    def posted(self, handler: str) -> list[Json]:
        return [body for _, name, body in self.posts if name == handler]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["StubGateway"]:
        config = Config()
        config.bind = [self.url.removeprefix("http://")]
        config.graceful_timeout = 0.1
        config.errorlog = config.accesslog = None
        stopped = asyncio.Event()
        task = asyncio.create_task(serve(self._app(), config, shutdown_trigger=stopped.wait))  # type: ignore[arg-type]
        try:
            yield self
        finally:
            for chat in self.chats.values():
                chat.cut_off()
            self._ended.set()
            stopped.set()
            await task

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            Mount("/static", StaticFiles(directory=PAGE)),
            Route("/me", self._me),
            Route("/agents", self._agents),
            Route("/agents/{agent:path}/events", self._output),
            Route("/chats", self._list),
            Route("/chats/{key}", self._history),
            Route("/chats/{key}/events", self._events),
            Route("/chats/{key}/preview_rollback", self._preview),
            Route("/chats/{key}/{handler}", self._post, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def _refused(self, request: Request) -> Response | None:
        if self.token is None or request.headers.get("authorization") == f"Bearer {self.token}":
            return None
        return error(401, "Unauthorized")

    async def _page(self, _: Request) -> Response:
        return FileResponse(Path(PAGE / "index.html"), headers=SECURITY)

    async def _me(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        auth, who = ("none", None) if self.token is None else ("token", self.user)
        return JSONResponse({"user": who, "auth": auth, "default_chat": "default"})

    async def _agents(self, _: Request) -> Response:
        return JSONResponse({"agents": self.agents})

    async def _output(self, request: Request) -> Response:
        return StreamingResponse(self._pieces(request.path_params["agent"]), media_type="text/event-stream")

    async def _pieces(self, agent_id: str) -> AsyncIterator[str]:
        for piece in self.outputs.get(agent_id, ()):
            yield f"data: {piece}\n\n"
        await self._ended.wait()

    async def _list(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        rows = [
            {"key": each.key, "title": title_of(each), "last_turn_id": len(each.turns), "busy": each.status["busy"]}
            for each in self.chats.values()
        ]
        return JSONResponse({"chats": rows})

    async def _history(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        self.gets.append(str(request.url.query))
        chat = self.chat(request.path_params["key"])
        last = chat.turns[-1]["turn_id"] if chat.turns else 0
        end = min(int(request.query_params.get("before_turn", last + 1)), last + 1)
        begin = max(1, end - int(request.query_params.get("limit", 50)))
        shown = [each for each in chat.turns if begin <= each["turn_id"] < end]
        entries = [entry for each in shown for entry in (*lines_of(each), *summary_of(chat, each))]
        turns = [{"turn_id": each["turn_id"], "usage": each["usage"]} for each in shown if each.get("usage")]
        return JSONResponse({"entries": entries, "next_before_turn": begin if begin > 1 else None, "turns": turns})

    async def _preview(self, request: Request) -> Response:
        return JSONResponse(self.chat(request.path_params["key"]).preview)

    async def _events(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        if impossible := self.impossible.get(request.path_params["key"]):
            return error(*impossible)
        chat = self.chat(request.path_params["key"])
        chat.cursors.append(request.headers.get("last-event-id"))
        return StreamingResponse(self._stream(chat), media_type="text/event-stream")

    async def _stream(self, chat: StubChat) -> AsyncIterator[str]:
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        for event in chat.joining():
            queue.put_nowait(event)
        chat.watchers.append(queue)
        try:
            number = 0
            while (told := await queue.get()) is not None:
                number += 1
                yield f"id: {number}\ndata: {json.dumps(told)}\n\n"
        finally:
            chat.watchers.remove(queue)

    async def _post(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        key, handler = request.path_params["key"], request.path_params["handler"]
        body = await request.json()
        self.posts.append((key, handler, body))
        if self.refuse.get(handler):
            return error(*self.refuse[handler].pop(0))
        return JSONResponse(self._answer(self.chat(key), handler, body))

    def _answer(self, chat: StubChat, handler: str, body: Json) -> Json:
        match handler:
            case "messages":
                return {"message_id": body["message_id"], "turn_id": len(chat.turns) + 1, "decision": "started"}
            case "set_mode":
                chat.mode = body["mode"]
                chat.tell_status()
                return {"mode": chat.mode}
            case "stop":
                return {"stopped": not self.taken}
            case _:
                return {"result": "already_taken" if self.taken else "applied"}


def lines_of(view: Json) -> list[Json]:
    """Return a turn as the history has it: its lines, and its error as one of role system."""
    failed = [{"role": "system", "content": view["error"], "turn_id": view["turn_id"], "status": view["status"]}]
    lines: list[Json] = view["entries"]
    return lines + (failed if view["error"] else [])


def summary_of(chat: StubChat, view: Json) -> list[Json]:
    """Return the line of the summary if it stands behind this turn."""
    if chat.summary is None or chat.summary[0] != view["turn_id"]:
        return []
    return [{"role": "summary", "content": chat.summary[1], "turn_id": view["turn_id"], "status": view["status"]}]


def title_of(chat: StubChat) -> str:
    first = chat.turns[0]["entries"] if chat.turns else []
    return str(first[0]["content"])[:60] if first else ""


def error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"status": status, "message": message}}, status_code=status)
