"""The gateway of a running service, with both servers: where it listens, whom it cuts off, how it ends."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.hosting.stack import ROOT
from tests.acceptance.test_main import run_main
from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.gateway import ALICE, BOB, TOKENS, bearer
from tests.support.llm_server import FOR_EVER, LLMServer, Plan
from tests.support.process import Process, bare_environment, free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

REQUEST_S = 1.0  # how long a client may take in these tests


class Web:
    """The gateway of a service that runs."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port
        self.url = f"http://127.0.0.1:{port}"


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["hypercorn", "granian"])
async def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    """A gateway with tokens and little patience, whose Restate is away. All tests share it."""
    port = free_port()
    nowhere = f"http://127.0.0.1:{free_port()}"
    service = Service(
        tmp_path_factory.mktemp("gateway"),
        SERVER=request.param,
        WEB_PORT=str(port),
        WEB_TOKENS=TOKENS,
        WEB_OPERATORS="bob",
        WEB_REQUEST_TIMEOUT_S=str(REQUEST_S),
        WEB_MAX_HEADER_BYTES="8192",
        WEB_MAX_BODY_BYTES="100000",
        WEB_MAX_STREAMS_PER_USER="5",
        RESTATE_INGRESS_URL=nowhere,
        RESTATE_ADMIN_URL=nowhere,
        LOG_LEVEL="DEBUG",
    )
    web = Web(service, port)
    try:
        await service.start()
        await service.process.answers(f"{web.url}/health")
        yield web
    finally:
        service.kill9()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def exchange(port: int, *pieces: bytes, within_s: float = 10) -> bytes:
    """Send bytes and return what comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), within_s)
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(line: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join((f"{line} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", body)).encode()


# Where it listens


@pytest.mark.parametrize(("workers", "server"), [("1", "hypercorn"), ("2", "granian")])
async def test_a_taken_port_is_one_sentence(tmp_path: Path, taken_port: int, server: str, workers: str) -> None:
    """A port of the gateway that is taken gives one sentence with the setting, and exit code 1."""
    process = run_main(tmp_path, PORT=str(free_port()), WEB_PORT=str(taken_port), SERVER=server, WORKERS=workers)

    assert await process.exited() == 1
    assert process.log().splitlines()[-1] == (
        f"Cannot listen on 127.0.0.1:{taken_port}: Address already in use. "
        "Stop what is there, or set WEB_PORT to another."
    )


@pytest.mark.parametrize(("arguments", "workers"), [((), "1"), ((), "2"), (("up",), "1")])
async def test_beyond_loopback_it_needs_tokens(tmp_path: Path, arguments: tuple[str, ...], workers: str) -> None:
    """On an address that others can reach nothing starts without authentication, and the cure is said."""
    port = str(free_port())
    process = run_main(
        tmp_path, *arguments, PORT=str(free_port()), WEB_HOST="0.0.0.0", WEB_PORT=port, WORKERS=workers  # noqa: S104
    )  # fmt: skip

    assert await process.exited() == 1
    assert "WEB_HOST=0.0.0.0 lets other machines use the gateway" in process.log()
    assert "Set WEB_TOKENS" in process.log()


async def test_wrong_tokens_are_not_shown(tmp_path: Path) -> None:
    """WEB_TOKENS that cannot be read is one sentence, without any of it."""
    tokens = f"alice:{ALICE},bob:short-secret"
    process = run_main(tmp_path, PORT=str(free_port()), WEB_PORT=str(free_port()), WEB_TOKENS=tokens)

    assert await process.exited() == 1
    assert "WEB_TOKENS" in process.log()
    assert ALICE not in process.log()
    assert "secret" not in process.log()


async def test_none_switches_it_off(start_service: StartService) -> None:
    """With WEB_PORT=none the service runs without a gateway."""
    service = await start_service(WEB_PORT="none")

    assert "The gateway listens" not in service.process.log()
    assert await service.terminate() == 0


async def test_every_worker_serves_it(start_service: StartService, server: str) -> None:
    """With several workers all of them accept from the gateway's one socket, and it ends with them."""
    port = free_port()
    service = await start_service(WEB_PORT=str(port), WORKERS="2", SERVER=server)
    await service.process.answers(f"http://127.0.0.1:{port}/health")

    assert f"The gateway listens on http://127.0.0.1:{port}" in service.process.log()
    for _ in range(20):
        async with local_http() as http:  # each by a connection of its own
            assert (await http.get(f"http://127.0.0.1:{port}/me")).status_code == 200
    assert await service.terminate() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


# Whom it cuts off


async def test_slow_headers_are_cut_off(web: Web) -> None:
    """A client that never ends its headers, or never begins, loses its connection, and others are served meanwhile."""
    slow = [
        asyncio.create_task(exchange(web.port, piece))
        for piece in (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        * 20
    ]
    async with local_http() as http:
        assert (await http.get(f"{web.url}/health")).status_code == 200
    begun = time.monotonic()
    answers = await asyncio.gather(*slow)
    assert time.monotonic() - begun < REQUEST_S + 4
    assert all(b" 200 " not in answer for answer in answers)


async def test_headers_that_trickle_are_cut_off(web: Web) -> None:
    """A header that comes byte by byte is cut off just so: what counts is when all of them are there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ")

    async def trickle() -> None:
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.1)

    trickling = asyncio.create_task(trickle())
    try:
        answer = await asyncio.wait_for(reader.read(), REQUEST_S + 4)
    except ConnectionError:
        answer = b""
    finally:
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        writer.close()
    assert b" 200 " not in answer


async def test_a_slow_body_is_cut_off(web: Web) -> None:
    """A body that never ends is 408, and the connection is closed."""
    head = request(
        "POST /chats/alice/messages",
        f"Authorization: Bearer {ALICE}",
        "Content-Type: application/json",
        "Content-Length: 50",
    )
    answer = await exchange(web.port, head, b'{"content"')
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_of_nobody_is_not_waited_for(web: Web) -> None:
    """Who has no token is told so at once, however much is announced."""
    begun = time.monotonic()
    answer = await exchange(
        web.port, request("POST /chats/alice/messages", "Content-Type: application/json", "Content-Length: 100000")
    )
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - begun < REQUEST_S


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 100001",),
        ("Content-Length: 99999999999999999999",),
        ("Transfer-Encoding: chunked",),
    ],
)
async def test_a_large_body_is_refused(web: Web, headers: tuple[str, ...]) -> None:
    """A body over the limit is refused by its announced length, or when it has come that far."""
    head = request(
        "POST /chats/alice/messages", f"Authorization: Bearer {ALICE}", "Content-Type: application/json", *headers
    )
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    body = chunk * 4 + b"0\r\n\r\n" if "Transfer" in headers[0] else b" " * 1000
    answer = await exchange(web.port, head, body)
    assert answer.split(b" ", 2)[1] in (b"413", b"400")


@pytest.mark.parametrize(
    "headers", [["X-A: " + "a" * 9000], [f"X-{n}: {'a' * 100}" for n in range(100)], ["Cookie: " + "a" * 1_000_000]]
)
async def test_large_headers_are_refused(web: Web, headers: list[str]) -> None:
    """Headers over the limit are refused, whether one is long or there are many."""
    answer = await exchange(web.port, request("GET /health", *headers))
    assert b" 200 " not in answer
    async with local_http() as http:
        assert (await http.get(f"{web.url}/health")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/chats/alice/../bob/status",
        "/chats/alice/%2e%2e/bob/status",
        "/chats/../chats/bob/status",
        "/./chats/bob/status",
        "//chats/bob/status",
        "/chats//bob/status",
        "/static/../../auth.py",
        "/static/%2e%2e/app.py",
        "http://localhost/chats/bob/status",
        "/chats/bob/status?/../../chats/alice/status",
        "/chats/alice%2F..%2Fbob/status",
        "/chats/alice%00/status",
        "/chats/\\..\\bob/status",
        "*",
    ],
)
async def test_no_path_leads_to_a_foreign_chat(web: Web, path: str) -> None:
    """Paths as no client library would send them lead to no chat of another user, and to no file."""
    answer = await exchange(web.port, request(f"GET {path}", f"Authorization: Bearer {ALICE}"))
    assert answer.split(b" ", 2)[1] in (b"403", b"404", b"400", b"405"), answer[:200]


SMUGGLED = "GET /chats/bob/status HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 2", "Content-Length: 60"),
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: identity, chunked, identity",),
        ("Content-Length: +2",),
        ("Transfer-Encoding : chunked",),
    ],
)
async def test_a_body_has_one_length(web: Web, headers: tuple[str, ...]) -> None:
    """A request whose length two servers could see differently is never served as two."""
    head = request(
        "POST /chats/alice/stop", f"Authorization: Bearer {ALICE}", "Content-Type: application/json", *headers
    ).replace(b"Connection: close\r\n", b"")
    answer = await exchange(web.port, head, b"{}" + SMUGGLED.encode(), within_s=REQUEST_S + 12)
    assert b" 200 " not in answer
    assert answer.count(b"HTTP/1.1 ") <= 2


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        (["Host: evil.example"], (421, 403)),
        (["Host: localhost", "Origin: https://evil.example"], (403,)),
        (["Host: localhost", "Origin: http://localhost:1"], (403,)),
        (["Host: localhost"], (401, 403)),
        (["Host: localhost", "Host: evil.example"], (400, 421, 403)),
    ],
)
async def test_websockets_pass_the_same_checks(web: Web, headers: list[str], statuses: tuple[int, ...]) -> None:
    """An upgrade from a foreign page, by a foreign name or without a token is refused before it is opened."""
    lines = [
        "GET /stream/ws/agent?agentId=a&runId=r HTTP/1.1",
        *headers,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write("\r\n".join((*lines, "", "")).encode())
    answer = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert int(answer.split(b" ")[1]) in statuses


async def test_http2_is_refused(web: Web) -> None:
    """A connection that begins with HTTP/2 gets nothing out of it."""
    answer = await exchange(web.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", within_s=REQUEST_S + 5)
    assert b"200" not in answer


async def test_who_does_not_read_is_cut_off(tmp_path: Path, server: str) -> None:
    """A client that takes nothing of what is sent to it loses its connection, and what made it ends."""
    if sys.platform != "linux":
        pytest.skip("only Linux has the option of sockets that ends such a connection")
    port, read_s = free_port(), 1.0
    process = Process(
        [sys.executable, "-m", "tests.support.endless_app", server, str(port), str(read_s)],
        env=bare_environment(),
        cwd=ROOT,
        log=tmp_path / "endless.log",
    )
    process.start()
    await process.answers(f"http://127.0.0.1:{port}/health")

    async with contextlib.AsyncExitStack() as held, local_http() as http:
        for _ in range(5):
            client = held.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(request("GET /stream"))

        async def are_open(count: int) -> bool:
            return (await http.get(f"http://127.0.0.1:{port}/health")).text == str(count)

        await eventually(lambda: are_open(5))
        await eventually(lambda: are_open(0), timeout_s=read_s + 5)
    assert await process.end() == 0


async def test_open_streams_are_bounded(web: Web) -> None:
    """A user has so many streams and no more; one that is closed makes room, and others have their own."""
    url = f"{web.url}/chats/alice/events"
    async with contextlib.AsyncExitStack() as held, local_http() as http:
        for _ in range(5):
            stream = await held.enter_async_context(http.stream("GET", url, headers=bearer(ALICE)))
            assert stream.headers["content-type"].startswith("text/event-stream")
        refused = await http.get(url, headers=bearer(ALICE))
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
        async with http.stream("GET", f"{web.url}/chats/bob/events", headers=bearer(BOB)) as stream:
            assert stream.status_code == 200

    async with local_http() as http:

        async def has_room() -> bool:
            async with http.stream("GET", url, headers=bearer(ALICE)) as stream:
                return stream.status_code == 200

        await eventually(has_room)


# What it says


async def test_restate_away_is_a_sentence(web: Web) -> None:
    """Without Restate each route says so with 503, and when to come again."""
    async with local_http() as http:
        history = await http.get(f"{web.url}/chats/alice", headers=bearer(ALICE))
        chats = await http.get(f"{web.url}/chats", headers=bearer(ALICE))
    assert (history.status_code, chats.status_code) == (503, 503)
    assert "Restate cannot be reached" in history.json()["error"]["message"]
    assert history.headers["retry-after"]
    assert "RESTATE_ADMIN_URL" in chats.json()["error"]["message"]


async def test_tokens_are_in_no_log_line(web: Web) -> None:
    """Not even at DEBUG, and whatever goes wrong, does a token get into the log."""
    async with local_http() as http:
        for path in ("/me", "/chats/alice", "/chats/bob", "/nothing", "/chats/%zz"):
            await http.get(f"{web.url}{path}", headers=bearer(ALICE))
            await http.get(f"{web.url}{path}", headers=bearer("wrong-token-0123456789"))
        await http.post(f"{web.url}/chats/alice/stop", content=b"{", headers=bearer(ALICE))
    await exchange(web.port, request("GET /me", f"Authorization: Bearer {ALICE}", "Bad Header\x00: 1"))
    log = web.service.process.log()
    assert "DEBUG" in log
    assert ALICE not in log
    assert "wrong-token" not in log
    assert ALICE[:12] not in log


# How it ends


@pytest_asyncio.fixture
async def stuck(
    own_restate_server: RestateServer, start_service: StartService, server: str
) -> AsyncIterator[tuple[Web, asyncio.Task[httpx.Response]]]:
    """A gateway on which a client waits for a reply that does not come."""
    with LLMServer() as llm:
        llm.script = lambda _request: Plan(delay_s=FOR_EVER)
        port = free_port()
        service = await start_service(
            SERVER=server,
            WEB_PORT=str(port),
            OPENAI_BASE_URL=llm.url,
            OPENAI_API_KEY="k",
            **own_restate_server.settings,
        )
        await own_restate_server.register(service.url)
        web = Web(service, port)
        async with local_http() as http:
            waiting = asyncio.create_task(http.post(f"{web.url}/chats/a/messages?wait=60", json={"content": "x"}))
            await llm.until(lambda: bool(llm.requests))
            yield web, waiting
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


async def test_who_waits_is_answered_at_the_end(stuck: tuple[Web, asyncio.Task[httpx.Response]]) -> None:
    """At SIGTERM a client that waits for a reply gets its receipt without one, and the process ends in time."""
    web, waiting = stuck
    begun = time.monotonic()
    assert await web.service.terminate(signal.SIGTERM) == 0
    assert time.monotonic() - begun < 4
    answer = await waiting
    assert (answer.status_code, answer.json()["reply"]) == (200, None)
    assert "Traceback" not in web.service.process.log()


async def test_streams_end_with_the_process(stuck: tuple[Web, asyncio.Task[httpx.Response]]) -> None:
    """At SIGTERM open streams end as streams do, not by a broken connection, and the process ends in time."""
    web, _ = stuck
    async with contextlib.AsyncExitStack() as held, local_http() as http:
        streams = [await held.enter_async_context(http.stream("GET", f"{web.url}/chats/a/events")) for _ in range(5)]
        reading = [stream.aiter_lines() for stream in streams]
        for lines in reading:
            while "STATE_SNAPSHOT" not in await asyncio.wait_for(anext(lines), 10):
                pass
        begun = time.monotonic()
        assert await web.service.terminate(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 4
        for lines in reading:
            async for _ in lines:  # a connection that breaks is an error here
                pass
    assert "Traceback" not in web.service.process.log()


async def test_a_client_that_goes_away_stops_nothing(
    stuck: tuple[Web, asyncio.Task[httpx.Response]], own_restate_server: RestateServer
) -> None:
    """The turn goes on when who waited for its reply has gone."""
    web, waiting = stuck
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with local_http() as http:

        async def still_busy() -> bool:
            status = (await http.get(f"{web.url}/chats/a/status")).json()
            return bool(status["busy"]) and not status["open_turns"][0]["stopping"]

        await eventually(still_busy)
        rows = await own_restate_server.query("SELECT value_utf8 FROM state WHERE key = 'session'")
        assert json.loads(rows[0]["value_utf8"])["open"]
        assert (await http.post(f"{web.url}/chats/a/stop", json={})).json()["stopped"]


# What functions of background agents stream


@contextlib.asynccontextmanager
async def output_of(web: Web, agent_id: str, run_id: str = "", token: str = BOB) -> AsyncIterator[ClientConnection]:
    """Give a WebSocket of an agent. The published library opens one just so."""
    url = f"ws://127.0.0.1:{web.port}/stream/ws/agent?agentId={agent_id}&runId={run_id}"
    async with connect(url, additional_headers=bearer(token), proxy=None) as websocket:
        yield websocket


async def test_output_is_passed_on(web: Web) -> None:
    """What a function sends reaches who watches its agent, up to `[DONE]`; it gets nothing back itself."""
    async with (
        output_of(web, "a") as agent,
        output_of(web, "a", "r") as run,
        output_of(web, "a", "other") as other,
        output_of(web, "b") as stranger,
        output_of(web, "a", "r") as function,
    ):
        for piece in ('{"delta": "Hel"}', '{"delta": "lo"}', "[DONE]"):
            await function.send(piece)
        for watcher in (agent, run):
            assert [await asyncio.wait_for(watcher.recv(), 5) for _ in range(3)] == [
                '{"delta": "Hel"}',
                '{"delta": "lo"}',
                "[DONE]",
            ]
        await other.send("[DONE]")
        assert await asyncio.wait_for(agent.recv(), 5) == "[DONE]"
        for nobody in (stranger, function, other, run):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(nobody.recv(), 0.05)


async def test_output_is_streamed_as_events(web: Web) -> None:
    """Who cannot open a WebSocket reads the same as server-sent events."""
    async with (
        local_http() as http,
        http.stream("GET", f"{web.url}/agents/a%2Fb/events", headers=bearer(BOB)) as stream,
        output_of(web, "a%2Fb", "r") as function,
    ):
        lines = stream.aiter_lines()
        await function.send('{"delta": "Hello"}')
        await function.send("[DONE]")
        seen = [await asyncio.wait_for(anext(lines), 5) for _ in range(3)]
    assert [line for line in seen if line] == ['data: {"delta": "Hello"}', "data: [DONE]"]


async def test_only_operators_see_output(web: Web) -> None:
    """Neither a WebSocket nor the events of an agent are opened for other users."""
    with pytest.raises(InvalidStatus) as refused:
        async with output_of(web, "a", token=ALICE):
            raise AssertionError
    assert refused.value.response.status_code == 403
    async with local_http() as http:
        assert (await http.get(f"{web.url}/agents/a/events", headers=bearer(ALICE))).status_code == 403


async def test_websockets_end_with_the_process(stuck: tuple[Web, asyncio.Task[httpx.Response]]) -> None:
    """At SIGTERM an open WebSocket is closed as such, and the process ends in time."""
    web, _ = stuck
    async with output_of(web, "a") as watcher:
        begun = time.monotonic()
        assert await web.service.terminate(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 4
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(watcher.recv(), 5)
        assert watcher.close_code == 1001
    assert "Traceback" not in web.service.process.log()
