"""`python app/main.py`, alone and with `up`: how it starts, what it refuses, how it ends."""

import asyncio
import signal
import socket
import stat
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


async def test_taken_port_is_one_sentence(tmp_path: Path, taken_port: int, server: str) -> None:
    """A port that is taken gives one sentence with the port and the setting, and exit code 1."""
    process = run_main(tmp_path, PORT=str(taken_port), SERVER=server)

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


async def test_unreadable_env_file_is_one_sentence(tmp_path: Path) -> None:
    """A `.env` that is no text, or cannot be read, gives one sentence with its path, and exit code 2."""
    env_file = tmp_path / ".env"
    cure = "Make it a text in UTF-8 that you may read, or remove it.\n"

    env_file.write_bytes(b"MODE=\xff\xfe")
    process = run_main(tmp_path)
    assert await process.exited() == 2
    assert process.log() == f"Cannot read {env_file}: it is not UTF-8. {cure}"

    if sys.platform == "linux":  # has a file that not even root can read
        env_file.unlink()
        env_file.symlink_to("/proc/self/mem")
        process = run_main(tmp_path)
        assert await process.exited() == 2
        assert process.log() == f"Cannot read {env_file}: Input/output error. {cure}"


async def test_unknown_argument_is_refused(tmp_path: Path) -> None:
    """An argument other than `up` is refused with what may be said instead."""
    process = run_main(tmp_path, "down")

    assert await process.exited() == 2
    assert "`up`" in process.log()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_ends_soon_when_asked_to(
    signum: signal.Signals, start_service: StartService, own_restate_server: RestateServer, server: str
) -> None:
    """SIGTERM and Ctrl-C in the middle of a turn end the service within 5 s, with exit code 0 and no traceback."""
    service = await start_service(OFFLINE_PACE_S="60", SERVER=server)
    await own_restate_server.register(service.url)
    await say(own_restate_server.ingress_url, "do something")
    await eventually(lambda: any("Running iteration" in line for line in service.log_lines()))

    async with asyncio.timeout(5):
        assert await service.terminate(signum) == 0

    assert "Traceback" not in service.process.log()


async def test_stack_keeps_chats_and_leaves_nothing_running(tmp_path: Path, stack: dict[str, str]) -> None:
    """`up` answers within seconds, ends both processes on Ctrl-C, and its next start finds the chat again.

    What it keeps is for the owner's eyes, the log of the first start too; the server is not shown the key of the LLM.
    """
    first = run_main(tmp_path, "up", **stack, OPENAI_API_KEY="sk-secret", OPENAI_BASE_URL="http://127.0.0.1:1")
    await ready(first)
    if sys.platform == "linux":
        assert sorted("OPENAI_API_KEY=sk-secret" in variables for variables in shown_to_children(first.pid)) == [
            False,
            True,
        ]
    assert mode_of_data(stack) == 0o700
    directions = first.log()[first.log().index("Chat with it") :].splitlines()
    assert directions[0] == f"Chat with it: http://127.0.0.1:{stack['WEB_PORT']}", "the page is what is named first"
    async with local_http() as http:
        assert (await http.get(directions[0].removeprefix("Chat with it: "))).status_code == 200
    await say(stack["RESTATE_INGRESS_URL"], "remember me")
    assert await first.end(signal.SIGINT) == 0
    require_nothing_listens(stack)

    second = run_main(tmp_path, "up", **stack)
    await ready(second)
    async with local_http() as http:
        history = await http.post(f"{stack['RESTATE_INGRESS_URL']}/ChatService/ellie/get_chat_history")
    assert await second.end(signal.SIGTERM) == 0

    assert "remember me" in history.text
    assert logs_of_server(stack) == ["restate.log", "restate.log.1"]
    require_nothing_listens(stack)


async def test_server_alone_has_the_chats_of_the_stack(tmp_path: Path, stack: dict[str, str]) -> None:
    """`server` serves the data folder of `up`, with its log in the terminal; `register` makes a service known to it.

    `reset` erases what both have stored there, and nothing else, once neither runs, on whatever ports.
    """
    server = run_main(tmp_path, "server", **stack)
    await server.answers(f"{stack['RESTATE_ADMIN_URL']}/health", f"{stack['RESTATE_INGRESS_URL']}/restate/health")
    service = run_main(tmp_path, **stack)
    await service.answers(f"http://127.0.0.1:{stack['PORT']}/health")
    register = run_main(tmp_path, "register", f"http://127.0.0.1:{stack['PORT']}", **stack)
    assert await register.exited() == 0, register.log()
    await say(stack["RESTATE_INGRESS_URL"], "remember me")
    assert await service.end(signal.SIGINT) == 0
    assert await server.end(signal.SIGINT) == 0
    assert f"register http://127.0.0.1:{stack['PORT']}" in server.log()

    both = run_main(tmp_path, "up", **stack)
    await ready(both)
    async with local_http() as http:
        history = await http.post(f"{stack['RESTATE_INGRESS_URL']}/ChatService/ellie/get_chat_history")
    assert "remember me" in history.text

    data = stack["RESTATE_DATA"]
    too_early = run_main(tmp_path, "reset", **elsewhere(stack))
    assert await too_early.exited() == 1
    assert too_early.log() == f"A Restate server uses {data}: stop it first.\n"
    logs = logs_of_server(stack)
    for command in ("up", "server"):
        second = run_main(tmp_path, command, **elsewhere(stack))
        assert await second.exited() == 1
        assert second.log() == (
            f"A Restate server uses {data} already: stop it, or set RESTATE_DATA to another folder.\n"
        )
    assert logs_of_server(stack) == logs
    assert await both.end() == 0
    (tmp_path / "data" / "mine").touch()
    for words in ("Erased the chats in ", "There are no chats in "):
        reset = run_main(tmp_path, "reset", **stack)
        assert await reset.exited() == 0
        assert reset.log().startswith(words)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine"]


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


@pytest.mark.parametrize("setting", ["RESTATE_INGRESS_URL", "RESTATE_ADMIN_URL", "PORT", "WEB_PORT"])
async def test_stack_names_the_setting_of_a_taken_port(
    setting: str, tmp_path: Path, stack: dict[str, str], taken_port: int
) -> None:
    """`up` starts nothing when a port is taken, and names the setting that moves it."""
    value = str(taken_port) if setting.endswith("PORT") else f"http://localhost:{taken_port}"
    process = run_main(tmp_path, "up", **stack | {setting: value})

    assert await process.exited() == 1
    assert process.log() == (
        f"Cannot listen on 127.0.0.1:{taken_port}: Address already in use. "
        f"Stop what is there, or set {setting} to another.\n"
    )


@pytest.fixture
def stack(tmp_path: Path, restate_binary: str) -> dict[str, str]:
    """The settings that move the whole stack to ports and a folder of the test, which others may look into."""
    (tmp_path / "data").mkdir(mode=0o755)
    return elsewhere({"RESTATE_SERVER": restate_binary, "RESTATE_DATA": str(tmp_path / "data")})


def elsewhere(stack: dict[str, str]) -> dict[str, str]:
    """Return the settings with other ports."""
    return stack | {
        "PORT": str(free_port()),
        "WEB_PORT": str(free_port()),
        "RESTATE_INGRESS_URL": f"http://localhost:{free_port()}",
        "RESTATE_ADMIN_URL": f"http://localhost:{free_port()}",
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


def shown_to_children(pid: int) -> list[str]:
    """Return the environment of each child of a process."""
    proc = Path("/proc")
    children = (proc / str(pid) / "task" / str(pid) / "children").read_text().split()
    return [(proc / child / "environ").read_text(errors="replace") for child in children]


def mode_of_data(stack: dict[str, str]) -> int:
    return stat.S_IMODE(Path(stack["RESTATE_DATA"]).stat().st_mode)


def logs_of_server(stack: dict[str, str]) -> list[str]:
    return sorted(path.name for path in Path(stack["RESTATE_DATA"]).glob("restate.log*"))


def require_nothing_listens(stack: dict[str, str]) -> bool:
    for name in ("PORT", "RESTATE_INGRESS_URL", "RESTATE_ADMIN_URL"):
        port = int(stack[name].rpartition(":")[2])
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something listens on {stack[name]}"
    return True
