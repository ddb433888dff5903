"""What the service says to clients that are no Restate server: a sentence, and no traceback in its log."""

import asyncio
import os
import socket

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from tests.conftest import StartService
from tests.support.process import local_http
from tests.support.restate_server import RestateServer

_POST = b"POST /invoke/ChatService/get_status HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n"
_RESTATE = b"Content-Type: application/vnd.restate.invocation.v5\r\n"
_UPGRADE = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"

SENT = {
    "TLS": bytes.fromhex("16030100c8010000c40303") + os.urandom(200),
    "random": os.urandom(2000) + b"\r\n\r\n",
    "NUL": b"\0" * 100,
    "SSH": b"SSH-2.0-OpenSSH_8.9\r\n",
    "not UTF-8": b"GET /discover HTTP/1.1\r\nHost: x\r\nX-Y: \xff\xfe\r\n\r\n",
    "long": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/1 without its body": _POST + _RESTATE + b"\r\nabc",
    "HTTP/1 with rubbish": _POST + _RESTATE + b"\r\n" + b"a" * 300,
    "WebSocket": _UPGRADE + b"Upgrade: websocket\r\nSec-WebSocket-Key: YWJjZGVmZ2hpamtsbW5vcA==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n",
    "h2c": _UPGRADE + b"Upgrade: h2c\r\nHTTP2-Settings: !!!\r\n\r\n",
    "HTTP/2 with rubbish": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(500),
}


async def test_strangers_leave_no_traceback(
    start_service: StartService, own_restate_server: RestateServer, server: str
) -> None:
    """Port scanners, browsers and cut connections leave no traceback, and the service goes on serving."""
    service = await start_service(SERVER=server)
    for sent in SENT.values():
        for reset in (False, True):
            await asyncio.to_thread(send_raw, service.port, sent, reset=reset)

    await own_restate_server.register(service.url)
    assert await service.terminate() == 0
    assert "Traceback" not in service.process.log()
    assert not [line for line in service.log_lines() if " ERROR:" in line]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/", 404, "Send requests to Restate's ingress"),
        ("/ChatService/ellie/process_user_message", 404, "Send requests to Restate's ingress"),
        ("/invoke/ChatService/process_user_message", 415, "Send requests to Restate's ingress"),
    ],
)
async def test_newcomer_is_shown_the_way(
    start_service: StartService, server: str, path: str, status: int, words: str
) -> None:
    """A message that is sent to the service itself is answered with where to send it."""
    service = await start_service(SERVER=server)
    async with local_http() as http:
        answer = await http.post(f"{service.url}{path}", json={"content": "x" * 1_000_000})

    assert answer.status_code == status
    assert words in answer.text
    assert "Traceback" not in service.process.log()


def send_raw(port: int, sent: bytes, *, reset: bool) -> None:
    """Send bytes and hang up: after what comes back within a moment, or at once and without a goodbye."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(0.2)
        try:
            client.sendall(sent)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                while client.recv(65536):
                    pass
        except OSError:
            pass  # it has hung up on us, or waits for more


async def test_late_frame_breaks_no_other_request(start_service: StartService) -> None:
    """What a client still sends to a request that is answered is dropped: the others on its connection go on.

    Granian resets the stream instead, which a client hears before it can send more.
    """
    service = await start_service()
    assert await asyncio.to_thread(answers_after_late_frame, service.port) == [b'{"status":"ok"}'] * 2
    assert "Traceback" not in service.process.log()
    assert "A connection broke" not in service.process.log()


def answers_after_late_frame(port: int) -> list[bytes]:
    """Ask twice over one connection, with a frame for the first request between; return the answers."""
    http = H2Connection(H2Configuration(client_side=True))
    headers = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/health")]
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        http.initiate_connection()
        for stream_id in (1, 3):
            http.send_headers(stream_id, headers)
            answers.append(answer_of(http, connection, stream_id))
            http.send_data(stream_id, b"late")
    return answers


def answer_of(http: H2Connection, connection: socket.socket, stream_id: int) -> bytes:
    answer = b""
    while True:
        connection.sendall(http.data_to_send())
        received = connection.recv(65536)
        assert received, "the connection broke"
        for event in http.receive_data(received):
            if isinstance(event, DataReceived):
                assert event.stream_id == stream_id
                answer += event.data or b""
            if isinstance(event, StreamEnded):
                return answer
