"""Who watches a chat while processes die: the service, a worker, Redis."""

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.live.redis_hub import RedisHub
from app.web.watch import IngressReads, Views
from tests.acceptance.test_main import run_main
from tests.acceptance.test_workers import workers_of
from tests.conftest import StartService
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import LLMServer, Plan
from tests.support.process import free_port, local_http
from tests.support.redis_server import RedisServer
from tests.support.restate_server import RestateServer
from tests.support.watching import WATCHED_MAIN, delays, stamped, watching, watching_from

HALF = Plan(text=["Half ", "of ", "it."], hang_after=3)
WHOLE = Plan(text=["Half ", "of ", "it.", " And the rest."])


@asynccontextmanager
async def redis_and_views(folder: Path, server: RestateServer) -> AsyncIterator[tuple[RedisServer, Views]]:
    """A Redis server, and views of this process that hear of others through it."""
    redis = RedisServer(folder)
    await redis.start()
    hub = RedisHub(redis.url, max_chars=100_000)
    reads = IngressReads(server.ingress_url)
    await hub.start()
    try:
        yield redis, Views(hub, reads)
    finally:
        await hub.aclose()
        await reads.aclose()
        redis.kill9()


async def test_the_service_dies_in_the_middle_of_an_answer(
    own_restate_server: RestateServer, start_service: StartService
) -> None:
    """After kill -9 the answer begins anew: who watches again sees it once, and in the record it is once."""
    with LLMServer() as llm:
        service = await start_service(
            WATCHED_MAIN, OPENAI_BASE_URL=llm.url, **own_restate_server.settings, OPENAI_API_KEY="x"
        )
        await own_restate_server.register(service.url)
        async with local_http() as http:
            chat = Chat(own_restate_server, llm, http, "ellie")
            chat.script(HALF, WHOLE)
            await chat.say("first")
            with contextlib.suppress(Exception):  # its connection breaks
                async with watching(service.url, chat.key) as watcher:
                    await watcher.until(lambda w: w.running_text == "Half of it.")
                    service.kill9()
            assert watcher.running_text == "Half of it."
            await service.start()
            async with watching(service.url, chat.key) as watcher:
                await watcher.idle(1, timeout_s=30)
                assert set(watcher.texts.values()) <= {"Half of it. And the rest."}
                assert watcher.answers(1) == ["Half of it. And the rest."]


async def test_who_watches_from_elsewhere_sees_two_attempts(
    own_restate_server: RestateServer, start_service: StartService, tmp_path: Path
) -> None:
    """A watcher in another process sees the text of the killed service end, and then that of its next attempt."""
    async with redis_and_views(tmp_path, own_restate_server) as (redis, views), local_http() as http:
        with LLMServer() as llm:
            service = await start_service(
                OPENAI_BASE_URL=llm.url, OPENAI_API_KEY="x", REDIS_URL=redis.url, **own_restate_server.settings
            )
            await own_restate_server.register(service.url)
            chat = Chat(own_restate_server, llm, http, "ellie")
            chat.script(HALF, WHOLE)
            async with watching_from(views, chat.key) as watcher:
                await chat.say("first")
                await watcher.until(lambda w: w.running_text == "Half of it.")
                await service.restart()
                await watcher.idle(1, timeout_s=30)
                assert list(watcher.texts.values()) == ["Half of it.", "Half of it. And the rest."]
                assert len({which[2] for which in watcher.texts}) == 2
                assert watcher.answers(1) == ["Half of it. And the rest."]


async def test_redis_dies_in_the_middle_of_an_answer(
    own_restate_server: RestateServer, start_service: StartService, tmp_path: Path
) -> None:
    """Without Redis the turn goes on, and its watcher sees it by the record; with it again the text comes as before."""
    async with redis_and_views(tmp_path, own_restate_server) as (redis, views), local_http() as http:
        with LLMServer() as llm:
            service = await start_service(
                OPENAI_BASE_URL=llm.url, OPENAI_API_KEY="x", REDIS_URL=redis.url, **own_restate_server.settings
            )
            await own_restate_server.register(service.url)
            chat = Chat(own_restate_server, llm, http, "ellie")
            chat.script(Plan(body=stamped(100), gap_s=0.02), Plan(text=["Second."]), Plan(body=stamped(50), gap_s=0.02))
            async with watching_from(views, chat.key) as watcher:
                await chat.say("first")
                await watcher.until(lambda w: len(w.running_text) > 100)
                redis.kill9()
                await watcher.idle(1)
                await chat.say("second")
                await watcher.idle(2)
                assert watcher.answers(2) == ["Second."]
                await redis.start()
                await eventually(lambda: any("REDIS_URL works again" in line for line in service.log_lines()))
                await eventually(lambda: views._hub.reaches_all)
                watcher.seen.clear()
                await chat.say("third")
                await watcher.idle(3)
                assert watcher.answers(3)[0] == next(text for which, text in watcher.texts.items() if which[0] == 3)
                assert len(delays(watcher)) > 10
            said = [line for line in service.log_lines() if "REDIS_URL does not work" in line]
            assert len(said) == 1, said


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the processes in /proc")
async def test_workers(own_restate_server: RestateServer, start_service: StartService, tmp_path: Path) -> None:
    """What any of several workers does is seen elsewhere as it happens; a killed one leads to no text twice."""
    async with redis_and_views(tmp_path, own_restate_server) as (redis, views), local_http() as http:
        with LLMServer(lambda _: Plan(body=stamped(60), gap_s=0.02)) as llm:
            service = await start_service(
                OPENAI_BASE_URL=llm.url,
                OPENAI_API_KEY="x",
                REDIS_URL=redis.url,
                WORKERS="2",
                **own_restate_server.settings,
            )
            await own_restate_server.register(service.url)
            chats = [Chat(own_restate_server, llm, http, f"chat-{n}") for n in range(12)]
            async with contextlib.AsyncExitStack() as stack:
                watchers = [await stack.enter_async_context(watching_from(views, chat.key)) for chat in chats]
                for chat in chats:
                    await chat.say("first")
                for watcher in watchers:
                    await watcher.until(lambda w: len(w.running_text) > 50)
                os.kill(workers_of(service)[0], signal.SIGKILL)
                for watcher in watchers:
                    await watcher.idle(1, timeout_s=30)
                    assert list(watcher.texts.values())[-1] == watcher.answers(1)[0]
                every = sorted(delay for watcher in watchers for delay in delays(watcher))
                assert every[len(every) // 2] < 0.1
        assert not [line for line in service.log_lines() if "no REDIS_URL" in line]


async def test_workers_without_redis(start_service: StartService) -> None:
    """Several workers that cannot tell each other anything say so in one line at the start."""
    service = await start_service(WORKERS="2", LOG_LEVEL="INFO")
    assert len([line for line in service.log_lines() if "no REDIS_URL" in line]) == 1


@pytest.mark.parametrize(
    ("url", "cure"),
    [("http://:secret@localhost", "must begin with redis://"), ("redis://:secret@localhost:port", "cannot be read")],
)
async def test_a_wrong_address(tmp_path: Path, url: str, cure: str) -> None:
    """A REDIS_URL that is none ends the start with a sentence, which does not show the password."""
    process = run_main(tmp_path, REDIS_URL=url, PORT=str(free_port()))
    assert await process.exited() == 1
    assert cure in process.log()
    assert len(process.log().splitlines()) == 1
    assert "secret" not in process.log()
