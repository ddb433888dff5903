"""A rolling upgrade: `register` the new version beside the old, which ends what it began until it is `drained`."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.hosting.stack import ROOT
from tests.acceptance.test_main import run_main
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import FOR_EVER, LLMServer, Plan, echo
from tests.support.process import free_port, local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service


@pytest.fixture
def new_main(tmp_path: Path) -> Path:
    """A version of the application in which no journal of an open turn of this one fits."""
    shutil.copytree(ROOT / "app", tmp_path / "new" / "app", ignore=shutil.ignore_patterns("__pycache__"))
    attempts = tmp_path / "new" / "app" / "turns" / "calls" / "attempts.py"
    old = attempts.read_text()
    attempts.write_text(old.replace('"LLM call"', '"LLM request"'))
    assert attempts.read_text() != old
    return tmp_path / "new" / "app" / "main.py"


Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def run(own_restate_server: RestateServer, tmp_path: Path) -> Run:
    """`await run("register", url)`: the exit code of the command, and what it said."""

    async def exited(*arguments: str) -> tuple[int, str]:
        process = run_main(tmp_path, *arguments, RESTATE_ADMIN_URL=own_restate_server.admin_url)
        return await process.exited(timeout_s=30), process.log()

    return exited


async def test_versions_side_by_side(
    own_restate_server: RestateServer, tmp_path: Path, new_main: Path, run: Run, request: pytest.FixtureRequest
) -> None:
    """The old version ends its open turn, all that is new runs on the new one; then the old one is drained, and its
    address is free for the version after."""

    with LLMServer(lambda _: Plan(delay_s=FOR_EVER)) as llm:
        old, new = (Service(tmp_path, main, OPENAI_BASE_URL=llm.url) for main in (ROOT / "app" / "main.py", new_main))
        for service in (old, new):
            request.addfinalizer(service.kill9)
            await service.start()
        assert (await run("register", old.url))[0] == 0

        async with local_http() as http:
            ellie, bob = (Chat(own_restate_server, llm, http, key) for key in ("ellie", "bob"))
            await ellie.say("begun before")
            await ellie.asked(1)

            exit_code, said = await run("register", new.url)
            assert (exit_code, f"drained {old.url}` says when that one may be stopped" in said) == (0, True), said
            exit_code, said = await run("drained", old.url)
            assert (exit_code, said) == (
                1,
                f"{old.url} is needed: invocations that it began are open, 1 of AgentSession.\n",
            )
            exit_code, said = await run("register", old.url)
            assert exit_code == 1, said
            assert "Start the new version at another address" in said

            llm.script = echo
            await bob.say("begun after")
            assert (await bob.idle())[-1][1] == "answer to: begun after"
            assert any("for bob" in line for line in new.log_lines())
            assert not any("for bob" in line for line in old.log_lines())

            await ellie.say("and now", "INTERRUPT")
            assert (await ellie.idle())[-1] == ("assistant", "answer to: begun before\n\nand now", "completed")

            async def is_drained() -> bool:
                return (await run("drained", old.url))[0] == 0

            await eventually(is_drained, every_s=0.5)
            await old.terminate()
            await ellie.say("still there?")
            assert (await ellie.idle())[-1][2] == "completed"

            await old.start()
            exit_code, said = await run("register", old.url)
            assert exit_code == 0, said
            await new.terminate()
            await bob.say("and you?")
            assert (await bob.idle())[-1][2] == "completed"


async def test_registering_twice_replaces_nothing(tmp_path: Path, run: Run, request: pytest.FixtureRequest) -> None:
    """An address that is registered stays as it is, and the answer says what to do if its code has changed."""
    service = Service(tmp_path)
    request.addfinalizer(service.kill9)
    await service.start()
    for words in ("is registered: AgentSession, ", "is registered since earlier: AgentSession, "):
        exit_code, said = await run("register", service.url)
        assert (exit_code, words in said) == (0, True), said

    exit_code, said = await run("drained", service.url)
    assert (exit_code, "Register the new version first." in said) == (1, True), said


async def test_two_names_of_a_place_are_one(
    own_restate_server: RestateServer, tmp_path: Path, run: Run, request: pytest.FixtureRequest
) -> None:
    """`localhost` and 127.0.0.1 are one place: nothing is registered twice, and neither name is called drained."""
    service = Service(tmp_path)
    request.addfinalizer(service.kill9)
    await service.start()
    names = [f"http://{host}:{service.port}" for host in ("localhost", "127.0.0.1", "[::1]")]

    for name, words in zip(names, ("is registered: ", "is registered since earlier: ", "since earlier: "), strict=True):
        exit_code, said = await run("register", name)
        assert (exit_code, f"http://127.0.0.1:{service.port} " in said, words in said) == (0, True, True), said

    # As a version of before could: one process, registered under two names, the first of which starts nothing any more.
    async with local_http() as http:
        body = {"uri": names[0], "force": True}
        answer = await http.post(f"{own_restate_server.admin_url}/deployments", json=body)
        assert answer.is_success, answer.text
    for name in names:
        exit_code, said = await run("drained", name)
        assert (exit_code, "is needed: " in said) == (1, True), said
        assert "since earlier: " in (await run("register", name))[1]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (
            ("register",),
            2,
            "`register` needs the URL of a service: python app/main.py register http://127.0.0.1:9080\n",
        ),
        (
            ("register", "nonsense"),
            2,
            "'nonsense' is not the URL of a service: write it like http://127.0.0.1:9080.\n",
        ),
        (
            ("register", "localhost:19080"),
            2,
            "'localhost:19080' is not the URL of a service: write it like http://localhost:19080.\n",
        ),
        (("drained", "http://["), 2, "'http://[' is not the URL of a service: write it like http://127.0.0.1:9080.\n"),
        (("register", "http://localhost:1"), 1, "Restate finds no service at http://127.0.0.1:1 ("),
        (("drained", "http://127.0.0.1:1"), 1, "Restate knows of no deployment at http://127.0.0.1:1\n"),
    ],
)
async def test_wrong_address_is_one_sentence(run: Run, arguments: tuple[str, ...], exit_code: int, words: str) -> None:
    """An address that is none, or where nothing is, gives one line that says so and what to write or to do."""
    code, said = await run(*arguments)

    assert code == exit_code
    assert said.startswith(words)
    assert len(said.splitlines()) == 1
    assert "META0003" not in said


async def test_missing_server_is_one_sentence(tmp_path: Path) -> None:
    """Without a Restate server the setting that names it is named."""
    process = run_main(tmp_path, "register", "http://x", RESTATE_ADMIN_URL=f"http://127.0.0.1:{free_port()}")

    assert await process.exited() == 1
    assert process.log().endswith("set RESTATE_ADMIN_URL\n")
