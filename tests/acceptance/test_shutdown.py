"""The service ends while turns are open, is upgraded, or has far more chats than usual: the chats do not notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.conftest import StartService
from tests.support.chat import Chat
from tests.support.eventually import eventually
from tests.support.llm_server import FOR_EVER, LLMRequest, LLMServer, Plan
from tests.support.process import local_http
from tests.support.restate_server import RestateServer
from tests.support.service import Service

ANSWERED = [("user", "hello", "completed"), ("assistant", "answer to: hello", "completed")]


@asynccontextmanager
async def asked(
    server: RestateServer, start_service: StartService, **settings: str
) -> AsyncIterator[tuple[Service, Chat, LLMServer]]:
    """Give a service with these settings and a chat in the middle of its first LLM call; the next one is answered."""
    with LLMServer(lambda _: Plan(delay_s=FOR_EVER)) as llm:
        service = await start_service(OPENAI_BASE_URL=llm.url, **settings)
        await server.register(service.url)
        async with local_http() as http:
            chat = Chat(server, llm, http, "open")
            await chat.say("hello")
            await chat.asked(1)
            llm.script = lambda request: Plan(text=[f"answer to: {'; '.join(request.user_texts)}"])
            yield service, chat, llm


async def test_turn_goes_on_after_sigterm(
    own_restate_server: RestateServer, start_service: StartService, server: str
) -> None:
    """SIGTERM in the middle of an LLM call ends the service; the turn is taken up by the next one, not interrupted."""
    async with asked(own_restate_server, start_service, SERVER=server) as (service, chat, llm):
        assert await asyncio.wait_for(service.terminate(), 5) == 0
        await service.start()

        assert await chat.idle(timeout_s=20) == ANSWERED
        assert llm.requests[0].disconnected_at is not None


async def test_ends_within_seconds_with_hundreds_of_turns_open(
    own_restate_server: RestateServer, start_service: StartService, server: str
) -> None:
    """SIGTERM with 200 turns in the middle of an LLM call: the end within 5 s, without noise, and all are taken up."""
    with LLMServer(lambda _: Plan(delay_s=FOR_EVER)) as llm:
        service = await start_service(
            OPENAI_BASE_URL=llm.url,
            LOG_LEVEL="WARNING",
            SERVER=server,
            RESTATE_ADMIN_URL=own_restate_server.admin_url,
        )
        await own_restate_server.register(service.url)
        async with local_http() as http:
            chats = [Chat(own_restate_server, llm, http, f"open-{n}") for n in range(200)]
            await asyncio.gather(*(chat.say("hello") for chat in chats))
            await llm.until(lambda: len(llm.requests) == 200, timeout_s=30)

            assert await asyncio.wait_for(service.terminate(), 5) == 0
            assert all(request.disconnected_at for request in llm.requests)
            assert not [line for line in service.log_lines() if " WARNING:" not in line]
            await service.start()

            await llm.until(lambda: len(llm.requests) == 400, timeout_s=60)


async def test_new_code_takes_up_the_turn_of_old_settings(
    own_restate_server: RestateServer, start_service: StartService
) -> None:
    """A turn that was begun under other limits and another mode replays under its own: limits are part of its input."""
    old = {"LLM_ATTEMPTS": "4", "MAX_ITERATIONS": "20"}
    async with asked(own_restate_server, start_service, **old) as (service, chat, llm):
        service.kill9()

        await start_service(
            OPENAI_BASE_URL=llm.url, PORT=str(service.port), LLM_ATTEMPTS="1", MAX_ITERATIONS="1", MODE="REJECT"
        )

        assert await chat.idle(timeout_s=20) == ANSWERED


async def test_a_hundred_chats_with_a_slow_llm(
    own_restate_server: RestateServer, start_service: StartService, server: str
) -> None:
    """A hundred chats wait for a slow LLM, each is interrupted: every request is aborted, every chat answered."""

    def script(request: LLMRequest) -> Plan:
        return Plan(text=["done"]) if "quick" in request.user_texts[-1] else Plan(delay_s=FOR_EVER)

    with LLMServer(script) as llm:
        service = await start_service(OPENAI_BASE_URL=llm.url, LOG_LEVEL="WARNING", SERVER=server)
        await own_restate_server.register(service.url)
        async with local_http() as http:
            chats = f"{own_restate_server.ingress_url}/ChatService"

            async def call(n: int, handler: str, body: object) -> Any:
                answer = await http.post(f"{chats}/crowd-{n}/{handler}", json=body)
                assert answer.is_success, answer.text
                return answer.json()

            await asyncio.gather(*(call(n, "process_user_message", {"content": f"slow {n}"}) for n in range(100)))
            await llm.until(lambda: len(llm.requests) == 100)
            await asyncio.gather(*(call(n, "process_user_message", {"content": f"quick {n}"}) for n in range(100)))
            await llm.until(lambda: all(r.disconnected_at for r in llm.requests[:100]), timeout_s=10)

            async def all_answered() -> bool:
                histories = await asyncio.gather(*(call(n, "get_chat_history", {}) for n in range(100)))
                last = {(history["entries"][-1]["content"], history["entries"][-1]["status"]) for history in histories}
                return last == {("done", "completed")}

            await eventually(all_answered, timeout_s=20)
