"""Servers with a URL: the library's own, of both eras, and ones that answer what no server should."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed: pip install -r requirements-dev.txt")

from hypercorn.asyncio import serve
from hypercorn.config import Config
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.eventually import eventually
from tests.support.mcp_servers import call, connected, settings_file
from tests.support.process import free_port, local_http

Answer = Callable[[Request, dict[str, Any]], Awaitable[Response]]
TOOL = {"name": "do", "description": "Do it", "inputSchema": {"type": "object"}}
HUGE = 10_000_000


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """Serve an application on loopback and give the URL of its `/mcp`."""
    port, stop = free_port(), asyncio.Event()
    config = Config()
    config.bind, config.errorlog, config.graceful_timeout = [f"127.0.0.1:{port}"], None, 0.1
    task = asyncio.create_task(serve(cast(Any, app), config, shutdown_trigger=cast(Any, stop.wait)))
    try:
        async with local_http() as http:

            async def answers() -> bool:
                return (await http.get(f"http://127.0.0.1:{port}/up")).status_code == 404

            await eventually(_tolerant(answers))
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        stop.set()
        await task


def _tolerant(check: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    async def checked() -> bool:
        try:
            return await check()
        except Exception as exc:
            raise AssertionError(repr(exc)) from exc

    return checked


def well_behaved() -> MCPServer:
    """Return the library's own server, with a tool that asks the user and one that hangs."""
    server = MCPServer("good")

    @server.tool()
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @server.tool()
    async def hang(ctx: Context[Any, Any]) -> str:
        """Report, then hang."""
        await ctx.report_progress(1, 3, "a third")
        await asyncio.sleep(3600)
        return "never"

    return server


@pytest.mark.parametrize("stateless", [False, True])
async def test_the_library_s_own_server(tmp_path: Path, stateless: bool) -> None:
    """Tools of a server by HTTP are offered and called; progress is told; a call that hangs ends in time."""
    app = well_behaved().streamable_http_app(stateless_http=stateless)
    heard: list[str] = []
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app))
        servers = await stack.enter_async_context(
            connected(settings_file(tmp_path, web={"url": url, "timeout_s": 1, "headers": {"X-Test": "yes"}}))
        )
        assert [spec.name for spec in await servers.offered()] == ["web__add", "web__hang"]
        assert (await call(servers, "web__add", a=1, b=2)).content == "3"
        assert (await call(servers, "web__add", a="x", b=2)).failed
        answer = await servers.call("web__hang", {}, again=False, progress=heard.append)
        assert "gave no answer within 1 s" in answer.content
        assert heard == ["a third"]
        assert (await call(servers, "web__add", a=3, b=2)).content == "5"


def hostile(answer: Answer) -> Starlette:
    """Return a server of the handshake era that answers calls with `answer`."""

    async def mcp(request: Request) -> Response:
        message = await request.json() if request.method == "POST" else {}
        if message.get("method") == "tools/call":
            return await answer(request, message)
        return await hostile_answer(request, message)

    return Starlette(routes=[Route("/mcp", mcp, methods=["GET", "POST", "DELETE"])])


async def hostile_answer(request: Request, message: dict[str, Any]) -> Response:
    """Answer what comes before a call as a good server does."""
    result: dict[str, Any]
    match message.get("method"):
        case "initialize":
            info = {"name": "hostile", "version": "1"}
            version = message["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            result = {"tools": [TOOL]}
        case "server/discover":
            return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "?"}})
        case _:
            return Response(status_code=202 if request.method == "POST" else 405)
    return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result})


def text_of(message: dict[str, Any], text: str) -> str:
    content = [{"type": "text", "text": text}]
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": content}})


async def huge(_request: Request, message: dict[str, Any]) -> Response:
    return Response(text_of(message, "x" * HUGE), media_type="application/json")


async def huge_event(_request: Request, message: dict[str, Any]) -> Response:
    return Response(f"data: {text_of(message, 'x' * HUGE)}\n\n", media_type="text/event-stream")


async def endless_event(_request: Request, _message: dict[str, Any]) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)  # lets the server see that the client is gone

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def page(_request: Request, _message: dict[str, Any]) -> Response:
    return PlainTextResponse("<html>Welcome</html>")


async def garbage(_request: Request, _message: dict[str, Any]) -> Response:
    return Response(b"\xff\xfe{", media_type="application/json")


async def denied(_request: Request, _message: dict[str, Any]) -> Response:
    return PlainTextResponse("sesame is expired", 401)


async def broken(_request: Request, _message: dict[str, Any]) -> Response:
    return PlainTextResponse("oops", 500)


async def elsewhere(_request: Request, _message: dict[str, Any]) -> Response:
    return RedirectResponse("http://127.0.0.2:1/mcp", 307)


async def silent(_request: Request, _message: dict[str, Any]) -> Response:
    await asyncio.sleep(3600)
    return Response()


async def accepted(_request: Request, _message: dict[str, Any]) -> Response:
    return Response(status_code=202)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (huge, "larger than the 4194304 bytes that are allowed"),
        (huge_event, "SSE stream failed"),
        (endless_event, "SSE stream failed"),
        (page, "Unexpected content type: text/plain"),
        (garbage, "an answer that cannot be used"),
        (denied, "it wants other credentials (401): see its `headers`"),
        (broken, "(500)"),
        (elsewhere, "Redirect to http://127.0.0.2:1/mcp not followed"),
        (silent, "gave no answer within 2 s. The call may have run"),
        (accepted, "202 Accepted"),
    ],
)
async def test_every_answer_has_an_outcome(tmp_path: Path, answer: Answer, sentence: str) -> None:
    """Whatever a server answers a call with, the LLM gets a sentence, and other servers are not touched by it."""
    async with (
        serving(hostile(answer)) as url,
        connected(settings_file(tmp_path, web={"url": url}), timeout_s=2) as bad,
    ):
        assert [spec.name for spec in await bad.offered()] == ["web__do"]
        given = await call(bad, "web__do")
        assert sentence in given.content
        assert given.failed
        assert len(given.content) < 1000
        assert sentence in (await call(bad, "web__do")).content


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """A server that nobody serves is a sentence; when it comes up, its tools are there without a restart of ours."""
    port = free_port()
    path = settings_file(tmp_path, web={"url": f"http://127.0.0.1:{port}/mcp"})
    async with connected(path) as servers:
        assert await servers.offered() == []
        answer = await call(servers, "web__do")
        assert "Nothing was called." in answer.content
        assert not answer.may_have_run


async def test_a_server_that_wants_credentials(tmp_path: Path) -> None:
    """A server that refuses the connection itself is explained with its status and the cure."""

    async def mcp(_request: Request) -> Response:
        return Response(status_code=401)

    app = Starlette(routes=[Route("/mcp", mcp, methods=["GET", "POST", "DELETE"])])
    async with serving(app) as url, connected(settings_file(tmp_path, web={"url": url})) as servers:
        assert await servers.offered() == []
        assert "wants other credentials (401)" in (await call(servers, "web__do")).content


async def test_a_forgotten_session_is_made_again(tmp_path: Path) -> None:
    """A server that was restarted, and knows the session no more, gets a fresh one; the LLM does not notice."""
    sessions: list[str] = []

    async def mcp(request: Request) -> Response:
        message = await request.json() if request.method == "POST" else {}
        if message.get("method") == "tools/call" and request.headers.get("mcp-session-id") == "s1":
            return Response(status_code=404)
        if message.get("method") == "tools/call":
            return Response(text_of(message, "fine"), media_type="application/json")
        answer = await hostile_answer(request, message)
        if message.get("method") == "initialize":
            sessions.append(f"s{len(sessions) + 1}")
            answer.headers["mcp-session-id"] = sessions[-1]
        return answer

    app = Starlette(routes=[Route("/mcp", mcp, methods=["GET", "POST", "DELETE"])])
    async with serving(app) as url, connected(settings_file(tmp_path, web={"url": url})) as servers:
        assert (await call(servers, "web__do")).content == "fine"
    assert sessions == ["s1", "s2"]


class Card(BaseModel):
    """What the server wants to know."""

    number: str


async def test_a_server_of_2026_tells_of_changes_and_asks(tmp_path: Path) -> None:
    """A change of the list is heard by the stream that the protocol of 2026 has for it; a question gets no answer."""
    server = MCPServer("good")

    async def late() -> str:
        """Be late."""
        return "here I am"

    @server.tool()
    async def grow(ctx: Context[Any, Any]) -> str:
        """Add a tool."""
        server.add_tool(late)
        await ctx.notify_tools_changed()
        return "grown"

    @server.tool()
    async def pay(ctx: Context[Any, Any]) -> str:
        """Ask for a card."""
        answer = await ctx.elicit("Which card?", Card)
        return f"paid: {answer.action}"

    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(server.streamable_http_app()))
        servers = await stack.enter_async_context(connected(settings_file(tmp_path, web={"url": url})))
        assert [spec.name for spec in await servers.offered()] == ["web__grow", "web__pay"]
        asked = await call(servers, "web__pay")
        assert asked.failed
        assert "elicitation" in asked.content
        assert (await call(servers, "web__grow")).content == "grown"

        async def heard() -> bool:
            return "web__late" in [spec.name for spec in await servers.offered()]

        await eventually(heard)
        assert (await call(servers, "web__late")).content == "here I am"
