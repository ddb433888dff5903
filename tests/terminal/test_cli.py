"""The terminal client as a program: on a terminal and through pipes, against the real stack."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.hosting.stack import ROOT
from tests.support import tooled_main
from tests.support.llm_server import Call, LLMServer, Plan
from tests.support.process import bare_environment, free_port
from tests.support.terminal import Terminal
from tests.support.web_stack import Held, Stack, running_program

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLI = [sys.executable, str(ROOT / "app" / "cli.py")]
ESC = "\x1b"
TOKEN = "secret-of-sara-0123456789"  # noqa: S105 - of the test's own gateway


@pytest.fixture(scope="module")
def llm() -> Iterator[LLMServer]:
    with LLMServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(restate_binary: str, llm: LLMServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One stack for all tests of this file, which wants a token; each has a chat of its own."""
    folder = tmp_path_factory.mktemp("stack")
    main = Path(tooled_main.__file__)
    async with running_program(main, restate_binary, folder, llm, WEB_TOKENS=f"sara:{TOKEN}") as stack:
        yield stack


@pytest.fixture
def key() -> str:
    return f"sara:{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(loop_scope="session")
async def terminal(stack: Stack, key: str, tmp_path: Path) -> AsyncIterator[Terminal]:
    """The client on a terminal, joined."""
    terminal = Terminal([*CLI, key, "--url", stack.url], bare_environment(WEB_TOKEN=TOKEN), tmp_path)
    try:
        await terminal.shows("/help")
        yield terminal
    finally:
        await terminal.close()


async def piped(stack: Stack, key: str, folder: Path, lines: str | bytes, **env: str) -> tuple[int, str, str]:
    """Run the client with pipes; return its exit code and what it wrote."""
    environment = bare_environment(**{"WEB_URL": stack.url, "WEB_TOKEN": TOKEN} | env)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *CLI, key, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=folder
    )
    given = lines.encode() if isinstance(lines, str) else lines
    out, err = await asyncio.wait_for(process.communicate(given), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_pipes(stack: Stack, key: str, tmp_path: Path) -> None:
    """One message a line goes in, answers come out in order, and nothing else."""
    stack.script(Plan(text=["one"]), Plan(text=["two\nlines"]))
    assert await piped(stack, key, tmp_path, "first\n\nsecond\n") == (0, "one\ntwo\nlines\n", "")


async def test_pipes_take_any_bytes(stack: Stack, key: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 become replacements, and what follows them is sent."""
    stack.script(Plan(text=["one"]), Plan(text=["two"]))
    assert await piped(stack, key, tmp_path, b"caf\xe9\nnext\n") == (0, "one\ntwo\n", "")


async def test_pipes_refuse_nonsense_at_once(stack: Stack, key: str, tmp_path: Path) -> None:
    """An address that is none ends the client with a sentence that says what one looks like."""
    code, out, err = await piped(stack, key, tmp_path, "hi\n", WEB_URL="localhost:1")
    assert (code, out) == (1, "")
    assert "http://HOST:PORT" in err


async def test_pipes_get_no_control_characters(stack: Stack, key: str, tmp_path: Path) -> None:
    """What the model says cannot talk to the terminal behind a pipe."""
    stack.script(Plan(text=["\x1b]0;evil\x07ok"]))
    assert await piped(stack, key, tmp_path, "hi\n") == (0, "\\x1b]0;evil\\x07ok\n", "")


async def test_pipes_tell_of_failure(stack: Stack, key: str, tmp_path: Path) -> None:
    """A turn that fails is exit code 1, with its sentence on stderr; so is a token that is wrong."""
    stack.script(Plan(status=401, error={"error": {"message": "bad key"}}))
    code, out, err = await piped(stack, key, tmp_path, "hi\n")
    assert (code, out) == (1, "")
    assert "401" in err
    code, out, err = await piped(stack, key, tmp_path, "hi\n", WEB_TOKEN="wrong")  # noqa: S106
    assert (code, out) == (1, "")
    assert "set WEB_TOKEN" in err
    code, out, err = await piped(stack, "another", tmp_path, "hi\n")
    assert (code, out) == (1, "")


async def test_a_streamed_answer(stack: Stack, terminal: Terminal) -> None:
    """The answer is seen while it is written, tool calls too, and each text once."""
    held = Held(["Hello\nde"], ["ar friend"])
    stack.script(
        held.plan, Plan(text=["I do it"], calls=[Call(arguments='{"task": "tidy"}')]), Plan(text=["All done."])
    )
    terminal.type("hi\r")
    await terminal.shows("› hi\n", "Hello\n", "working")
    held.let_go()
    await terminal.shows("dear friend\n")
    terminal.type("tidy up\r")
    await terminal.shows("I do it\n", '· execute_task {"task": "tidy"}', "→ The task is done: tidy", "All done.\n")
    assert terminal.text.count("Hello\n") == terminal.text.count("dear friend\n") == 1


async def test_typing_meanwhile_and_stopping(stack: Stack, terminal: Terminal) -> None:
    """One types while the agent works; Esc stops and holds what waits, Esc again sends it."""
    stack.script(Held(["Once upon\n"], []).plan)
    terminal.type("first\r")
    await terminal.shows("Once upon\n")
    terminal.type("/mode queue\r")
    await terminal.shows("The mode is QUEUE.")
    terminal.type("second\r")
    await terminal.shows("1 waiting")
    terminal.type("/edit 1 second, changed\r")
    terminal.type("/queue\r")
    await terminal.shows("1. QUEUE: second")
    terminal.type(ESC)
    await terminal.shows("Interrupted.", "1 held (Esc sends)")
    terminal.type(ESC)
    await terminal.shows("› second, changed", "answer to:")
    terminal.type("/history 1\r")
    terminal.type("/nonsense\r")
    await terminal.shows("/nonsense is not known")


async def test_the_other_mode(stack: Stack, terminal: Terminal) -> None:
    """Alt+Enter queues where Enter interrupts."""
    stack.script(Held(["Once upon\n"], []).plan)
    terminal.type("first\r")
    await terminal.shows("Once upon\n")
    terminal.type(f"later{ESC}\r")
    await terminal.shows("1 waiting")
    terminal.type("now\r")
    await terminal.shows("Interrupted.", "› now")


async def test_a_terminal_obeys_nobody_else(stack: Stack, terminal: Terminal) -> None:
    """Escape sequences of the model and of tools are shown as text, and never reach the terminal."""
    evil = "\x1b]0;evil\x07\x1b[2J\x9b31mred"
    stack.script(Plan(text=[evil], calls=[Call(arguments='{"task": "\\u001b]0;evil\\u0007"}')]), Plan(text=[evil]))
    terminal.type("hi\r")
    await terminal.shows("\\x1b]0;evil\\x07\\x1b[2J\\x9b31mred", "→ The task is done: \\x1b]0;evil")
    assert "\x1b]0;evil" not in terminal.raw
    assert "\x9b31m" not in terminal.raw


async def test_leaving(terminal: Terminal) -> None:
    """Ctrl-D ends the client, without a word."""
    terminal.type("\x04")
    assert await terminal.ends() == 0
    assert "Traceback" not in terminal.text


async def test_the_service_restarts(stack: Stack, terminal: Terminal) -> None:
    """While the service is away the client says so; then it goes on, and what was typed meanwhile is sent in order."""
    stack.script(Plan(text=["before"]))
    terminal.type("one\r")
    await terminal.shows("before\n")
    stack.service.kill9()
    await terminal.shows("Connecting again")
    terminal.type("two\r")
    await terminal.shows("Not sent yet, tried again until it is: two")
    terminal.type("three\r")
    await terminal.shows("Not sent yet, tried again until it is: three")
    await stack.service.start()
    await terminal.shows("Sent: two", "Sent: three", "› two", "› three", "answer to:", timeout_s=40)
    assert terminal.text.index("› two") < terminal.text.index("› three")
    assert terminal.text.count("before\n") == 1


async def test_leaving_in_an_outage(tmp_path: Path) -> None:
    """Who leaves while the gateway is away reads what was not sent; bytes that are no text do no harm."""
    terminal = Terminal([*CLI, "tom", "--url", f"http://127.0.0.1:{free_port()}"], bare_environment(), tmp_path)
    try:
        await terminal.shows("Connecting again")
        terminal.type_bytes(b"caf\xe9 one\r")
        await terminal.shows("Not sent yet")
        terminal.type("/quit\r")
        assert await terminal.ends() == 1
        await terminal.shows("Not sent: caf\ufffd one")
        assert "Traceback" not in terminal.text
    finally:
        await terminal.close()


async def test_no_gateway(tmp_path: Path) -> None:
    """Where the settings say that there is no gateway, the client says how to name one."""
    process = await asyncio.create_subprocess_exec(
        *CLI,
        "sara",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=bare_environment(WEB_PORT="none"),
        cwd=tmp_path,
    )
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert b"--url or WEB_URL" in err


async def test_a_call_that_waits_is_decided(stack: Stack, terminal: Terminal, key: str) -> None:
    """A call that waits is shown with its arguments; it is made with others, and another one rejected with a reason."""

    def pays(call_id: str) -> Plan:
        call = Call("pay", json.dumps({"amount": 100, "to": key}), call_id)
        return Plan(text=["I pay."], calls=[call], finish_reason="tool_calls")

    stack.script(pays("c-1"), Plan(text=["Paid."]), pays("c-2"), Plan(text=["A pity."]))
    terminal.type("pay\r")
    await terminal.shows("pay waits for your approval", f'"to": "{key}"', "/reject 1 REASON", "1 for you to decide")
    terminal.type("/approve {\r")
    await terminal.shows("This is no JSON")
    terminal.type('/approve {"amount": 50, "to": "Tom"}\r')
    await terminal.shows("→ [The user approved this call with other arguments", "Paid.\n")
    terminal.type("pay again\r")
    await terminal.shows("1 for you to decide")
    terminal.type("/reject too much\r")
    await terminal.shows("gave the reason 'too much'", "A pity.\n")
    terminal.type("/reject\r")
    await terminal.shows("Nothing waits for you.")


async def test_a_turn_is_undone(stack: Stack, terminal: Terminal, key: str) -> None:
    """`/undo` shows what would be undone and undoes nothing; `/undo now` does, and the chat says what it was."""
    held = Held(["Wait"], ["…"])
    call = Call("book", json.dumps({"what": "seat", "chat": key}))
    stack.script(Plan(text=["I book."], calls=[call], finish_reason="tool_calls"), held.plan)
    terminal.type("/undo\r")
    await terminal.shows("Nothing runs.")
    terminal.type("book\r")
    await terminal.shows("→ seat", "Wait")
    terminal.type("/undo\r")
    await terminal.shows("Undone, the last first: book", "/undo now stops the turn")
    terminal.type("/undo now\r")
    await terminal.shows("Rolled back", "Undone: book.")
