"""`python app/main.py`, alone and with `up`: how it starts, what it refuses, how it ends."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.process import Process, bare_environment, free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import MAIN


def run_main(folder: Path, *arguments: str, **env: str) -> Process:
    """Start `python app/main.py` as a user does, from a folder that is not the repository."""
    command = [sys.executable, str(MAIN), *arguments]
    log = folder / f"main-{len(list(folder.glob('main-*')))}.log"
    process = Process(command, env=bare_environment(**env), cwd=folder, log=log)
    process.start()
    return process


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_taken_port_is_one_sentence(tmp_path: Path, taken_port: int) -> None:
    """A port that is taken gives one sentence with the port and the setting, and exit code 1."""
    process = run_main(tmp_path, PORT=str(taken_port))

    assert await process.exited() == 1
    assert process.log().splitlines() == [
        f"Cannot listen on 127.0.0.1:{taken_port}: Address already in use. Stop what is there, or set PORT to another."
    ]


async def test_wrong_settings_are_one_sentence_each(tmp_path: Path) -> None:
    """Each wrong setting gives one sentence with its name, its value and what it must be, and exit code 2."""
    process = run_main(tmp_path, MODE="FOO", PORT="none")

    assert await process.exited() == 2
    mode, port = process.log().splitlines()
    assert mode.startswith("MODE='FOO' cannot be used; it must be 'INTERRUPT', ")
    assert port.startswith("PORT='none' cannot be used; it must be a valid integer")


async def test_unknown_argument_is_refused(tmp_path: Path) -> None:
    """An argument other than `up` is refused with what may be said instead."""
    process = run_main(tmp_path, "down")

    assert await process.exited() == 2
    assert "`up`" in process.log()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_ends_soon_when_asked_to(
    signum: signal.Signals, start_service: StartService, own_restate_server: RestateServer
) -> None:
    """SIGTERM and Ctrl-C in the middle of a turn end the service within 5 s, with exit code 0 and no traceback."""
    service = await start_service(OFFLINE_PACE_S="60")
    await own_restate_server.register(service.url)
    await say(own_restate_server.ingress_url, "do something")
    await eventually(lambda: any("Running iteration" in line for line in service.log_lines()))

    async with asyncio.timeout(5):
        assert await service.terminate(signum) == 0

    assert "Traceback" not in service.process.log()


async def test_stack_keeps_chats_and_leaves_nothing_running(tmp_path: Path, stack: dict[str, str]) -> None:
    """`up` answers within seconds, ends both processes on Ctrl-C, and its next start finds the chat again."""
    first = run_main(tmp_path, "up", **stack)
    await ready(first)
    await say(stack["RESTATE_INGRESS_URL"], "remember me")
    assert await first.end(signal.SIGINT) == 0
    require_nothing_listens(stack)

    second = run_main(tmp_path, "up", **stack)
    await ready(second)
    async with local_http() as http:
        history = await http.post(f"{stack['RESTATE_INGRESS_URL']}/ChatService/ellie/get_chat_history")
    assert await second.end(signal.SIGTERM) == 0

    assert "remember me" in history.text
    require_nothing_listens(stack)


async def test_killed_stack_leaves_nothing_running(tmp_path: Path, stack: dict[str, str]) -> None:
    """kill -9 of `up` takes its server and service with it."""
    if sys.platform != "linux":
        pytest.skip("only Linux ends children with their parent")
    process = run_main(tmp_path, "up", **stack)
    await ready(process)

    process.kill9()

    await eventually(lambda: require_nothing_listens(stack))


async def test_stack_says_which_half_ended(tmp_path: Path, stack: dict[str, str]) -> None:
    """A server that ends by itself ends `up`, with its exit code and the place of its log."""
    process = run_main(tmp_path, "up", **stack | {"RESTATE_SERVER": "/bin/false"})

    assert await process.exited() == 1
    assert "restate-server ended by itself with exit code 1; its log is " in process.log()
    require_nothing_listens(stack)


@pytest.mark.parametrize("setting", ["RESTATE_INGRESS_URL", "RESTATE_ADMIN_URL", "PORT"])
async def test_stack_names_the_setting_of_a_taken_port(
    setting: str, tmp_path: Path, stack: dict[str, str], taken_port: int
) -> None:
    """`up` starts nothing when a port is taken, and names the setting that moves it."""
    value = str(taken_port) if setting == "PORT" else f"http://localhost:{taken_port}"
    process = run_main(tmp_path, "up", **stack | {setting: value})

    assert await process.exited() == 1
    assert process.log() == (
        f"Cannot listen on 127.0.0.1:{taken_port}: Address already in use. "
        f"Stop what is there, or set {setting} to another.\n"
    )


@pytest.fixture
def stack(tmp_path: Path, restate_binary: str) -> dict[str, str]:
    """The settings that move the whole stack to ports and a folder of the test."""
    return {
        "PORT": str(free_port()),
        "RESTATE_INGRESS_URL": f"http://localhost:{free_port()}",
        "RESTATE_ADMIN_URL": f"http://localhost:{free_port()}",
        "RESTATE_SERVER": restate_binary,
        "RESTATE_DATA": str(tmp_path / "data"),
    }


async def ready(process: Process) -> None:
    def says_so() -> bool:
        assert process.exit_code is None, process.log()
        return "Ctrl-C stops everything" in process.log()

    await eventually(says_so, timeout_s=30)


async def say(ingress_url: str, content: str) -> None:
    async with local_http() as http:
        message = {"role": "user", "content": content}
        answer = await http.post(f"{ingress_url}/ChatService/ellie/process_user_message", json=message)
    assert answer.is_success, answer.text


def require_nothing_listens(stack: dict[str, str]) -> bool:
    for name in ("PORT", "RESTATE_INGRESS_URL", "RESTATE_ADMIN_URL"):
        port = int(stack[name].rpartition(":")[2])
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something listens on {stack[name]}"
    return True
