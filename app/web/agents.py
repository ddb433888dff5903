"""The routes of background agents, for operators: which there are, what came of them, and what their functions stream.

Changes no agent.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.background.engine.admin import stored
from app.background.functions.output import Watcher, tell, watching
from app.background.mailbox.control import RECORD_KEY, Record, description_of
from app.background.protocol import MAILBOX
from app.web.agui.stream import EventStream
from app.web.caller import require_operator, segment
from app.web.gateway import gateway_of
from app.web.refusals import Refused

MAX_LISTED = 500
MAX_PIECE_CHARS = 1_000_000
_GOING_AWAY, _NOT_TEXT, _TOO_LARGE, _TRY_AGAIN = 1001, 1003, 1009, 1013  # why a WebSocket is closed, RFC 6455


def routes() -> list[BaseRoute]:
    """Return the routes of background agents."""
    return [
        Route("/agents", agents, methods=["GET"]),
        Route("/agents/{agent}/events", watch, methods=["GET"]),
        WebSocketRoute("/stream/ws/agent", stream),
    ]


async def agents(request: Request) -> Response:
    """List background agents: those that run first, then by id. Each has its status, and the result once it has one."""
    require_operator(request)
    records = [(agent_id, Record.model_validate(record)) for agent_id, record in await stored(MAILBOX, RECORD_KEY)]
    records.sort(key=lambda each: (each[1].outcome is not None, each[0]))
    listed = [
        description_of(agent_id, record).model_dump(mode="json", exclude={"children", "blocked"})
        | {"result": record.outcome.result if record.outcome else None}
        for agent_id, record in records[:MAX_LISTED]
    ]
    return JSONResponse({"agents": listed})


async def watch(request: Request) -> Response:
    """Stream what the functions of an agent stream, from here on; with `run_id`, those of that run."""
    require_operator(request)
    gateway, agent_id = gateway_of(request), segment(request, "agent")
    pieces = _pieces(agent_id, request.query_params.get("run_id") or None)
    async with AsyncExitStack() as held:
        await held.enter_async_context(gateway.stream(request))
        return EventStream(
            gateway.until_ending(pieces), held.pop_all(), send_timeout_s=gateway.settings.web_send_timeout_s
        )


async def stream(websocket: WebSocket) -> None:
    """Pass on what functions of an agent send, to all who are connected for that agent, as the published engine does.

    Who sends gets nothing back: clients of the published library do not read.
    """
    require_operator(websocket)
    agent_id, run_id = websocket.query_params.get("agentId"), websocket.query_params.get("runId") or None
    if not agent_id:
        raise Refused(400, "agentId is missing: /stream/ws/agent?agentId=…&runId=…")
    gateway = gateway_of(websocket)
    async with gateway.stream(websocket):
        await websocket.accept()
        with watching(agent_id, run_id) as watcher:
            code = await _first_of(_hear(websocket, agent_id, watcher), _show(websocket, watcher), _end(gateway.ending))
        if code is not None:
            await websocket.close(code)


async def _pieces(agent_id: str, run_id: str | None) -> AsyncIterator[ServerSentEvent]:
    with watching(agent_id, run_id) as watcher:
        while (piece := await watcher.pieces.get()) is not None:
            yield ServerSentEvent(data=piece, sep="\n")


async def _hear(websocket: WebSocket, agent_id: str, watcher: Watcher) -> int | None:
    """Tell what a client sends to all others until it goes. Return why to close, None if it has closed by itself."""
    try:
        while True:
            piece = await websocket.receive_text()
            if len(piece) > MAX_PIECE_CHARS:
                return _TOO_LARGE
            watcher.gone = True
            tell(agent_id, watcher.run_id or "", piece)
    except WebSocketDisconnect:
        return None
    except KeyError:
        return _NOT_TEXT


async def _show(websocket: WebSocket, watcher: Watcher) -> int:
    while (piece := await watcher.pieces.get()) is not None:
        await websocket.send_text(piece)
    return _TRY_AGAIN


async def _end(ending: asyncio.Event) -> int:
    await ending.wait()
    return _GOING_AWAY


async def _first_of(*waits: Coroutine[Any, Any, int | None]) -> int | None:
    """Return what the first of `waits` returns. The others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done.pop().result()
