"""The transport to a server that is our child process: messages as lines, by its stdin and stdout.

Owns the process and its end. The library's own transport keeps lines of any length, and leaves the processes of a
server behind when we are killed: see lines.py and keeper.py.
"""

import asyncio
import json
import os
import shutil
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from app.errors import AgentError
from app.mcp.config import McpServer
from app.mcp.lines import ENDS_BYTES, Lines, TooLong
from app.text import clean_data

MAX_MESSAGE_BYTES = 4_194_304
STOP_S = 0.3  # for a server to end when its stdin does
KEEPER_S = 1.5  # for its keeper to end it, and all that it has started
LAST_WORDS_S = 0.1
KEEPER = Path(__file__).with_name("keeper.py")
_CHUNK = 65_536

Inbound = MemoryObjectSendStream[SessionMessage | Exception]
Note = Callable[[str], None]


class CannotStart(AgentError):
    """The command of an MCP server cannot be started."""


@asynccontextmanager
async def stdio(server: McpServer, note: Note, on_end: Callable[[], None]) -> AsyncIterator[TransportStreams]:
    """Start the server and give the streams of its messages. At the end, the server and all it has started end too.

    `note` is given what the server writes to stderr, and what it writes that is no message, line by line. `on_end` is
    called when the server closes its stdout.
    Errors: CannotStart.
    """
    process = await _start(server)
    to_session, read_stream = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write_stream, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    reading = asyncio.create_task(_read(process, to_session, note))
    reading.add_done_callback(lambda _: on_end())
    stderr = asyncio.create_task(_read_stderr(process, note))
    pumps = [reading, stderr, asyncio.create_task(_write(process, from_session, to_session))]
    try:
        yield read_stream, write_stream
    finally:
        try:
            await _stop(process)
            await asyncio.wait((stderr,), timeout=LAST_WORDS_S)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for stream in (to_session, read_stream, write_stream, from_session):
                stream.close()
            if process.returncode is not None:  # a process that left the session of the server may hold its pipes
                process._transport.close()  # type: ignore[attr-defined]


async def _start(server: McpServer) -> Process:
    env = get_default_environment() | dict(server.env)
    command = shutil.which(server.command or "", path=env.get("PATH"))
    if command is None:
        raise CannotStart(f"there is no command {server.command!r}")
    keeper = (sys.executable, "-I", "-S", str(KEEPER), str(os.getpid()), command)
    try:
        return await asyncio.create_subprocess_exec(
            *keeper, *server.args, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=env, cwd=server.cwd, start_new_session=True
        )
    except (OSError, ValueError) as exc:
        raise CannotStart(f"it cannot be started: {type(exc).__name__}") from exc


async def _read(process: Process, to_session: Inbound, note: Note) -> None:
    """Hand the messages of the server on until its stdout ends; closing the stream tells the session of the end."""
    stdout = cast(StreamReader, process.stdout)
    lines = Lines(MAX_MESSAGE_BYTES)
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        async with to_session:
            while data := await stdout.read(_CHUNK):
                for line in lines.feed(data):
                    if (message := _message_of(line, note)) is not None:
                        await to_session.send(message)


def _message_of(line: bytes | TooLong, note: Note) -> SessionMessage | None:
    """Return the message in a line, None for one that is none: many servers greet on stdout."""
    if isinstance(line, TooLong):
        note(f"wrote a message of {line.size} bytes, {MAX_MESSAGE_BYTES} are allowed")
        return _refusal(line, too_large(line.size))
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        pass
    try:  # what is no UTF-8, or has half a character in it, as cut texts have
        data = clean_data(json.loads(line.decode(errors="replace")))
        return SessionMessage(jsonrpc_message_adapter.validate_python(data, by_name=False))
    except (ValueError, RecursionError):
        if line.strip():
            note(f"wrote what is no message: {line[:200]!r}")
        return _refusal(TooLong(line[:ENDS_BYTES], line[-ENDS_BYTES:], len(line)), "The answer is no message of MCP.")


def _refusal(line: TooLong, sentence: str) -> SessionMessage | None:
    """Return the answer in place of one that cannot be used, None if it is not known what it answers."""
    if line.request_id is None:
        return None
    error = ErrorData(code=PARSE_ERROR, message=sentence)
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=line.request_id, error=error))


def too_large(size: int | None = None) -> str:
    """Return the sentence for an answer over the limit."""
    had = "The answer" if size is None else f"The answer of {size} bytes"
    return f"{had} is larger than the {MAX_MESSAGE_BYTES} bytes that are allowed; ask for less."


async def _write(
    process: Process, from_session: MemoryObjectReceiveStream[SessionMessage], to_session: Inbound
) -> None:
    stdin = cast(StreamWriter, process.stdin)
    async with from_session:
        async for message in from_session:
            data = message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            try:
                stdin.write(data)
                await stdin.drain()
            except OSError:
                to_session.close()  # or a request that cannot be written would wait for its answer
                return


async def _read_stderr(process: Process, note: Note) -> None:
    stderr = cast(StreamReader, process.stderr)
    lines = Lines(_CHUNK)
    while data := await stderr.read(_CHUNK):
        for line in lines.feed(data):
            kept = line.head if isinstance(line, TooLong) else line
            note(kept.decode(errors="replace").strip())


async def _stop(process: Process) -> None:
    """End the server: its stdin ends, then its keeper is told to, which asks it, and then kills it."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await _ended(process, STOP_S)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()  # the keeper, never by SIGKILL: it would leave others behind
    await _ended(process, KEEPER_S)


async def _ended(process: Process, within_s: float) -> bool:
    """Return whether the process ends within a time; unlike wait() this does not wait for its pipes."""
    deadline = asyncio.get_running_loop().time() + within_s
    while process.returncode is None:
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
