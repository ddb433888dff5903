"""The floor as a contender: the least that any such chat must do, `python -m tests.bench.floor PORT`.

An empty chain of three hops between objects: a handler sends to another object, which calls back. It asks no LLM.
"""

import asyncio
import logging
import sys
from typing import Any

import restate
from restate import ObjectContext, ObjectSharedContext, VirtualObject

from app.hosting.place import Place
from app.hosting.serving import serve_until_stopped
from app.hosting.stack import ROOT
from tests.bench.contender import Surroundings
from tests.bench.messages import answer_to
from tests.support.process import Process, bare_environment

chat = VirtualObject("ChatService")
session = VirtualObject("AgentSession")


@chat.handler()
async def process_user_message(ctx: ObjectContext, message: dict[str, str]) -> None:
    ctx.object_send(run, key=ctx.key(), arg=message["content"])


@session.handler()
async def run(ctx: ObjectContext, text: str) -> None:
    await ctx.object_call(take_answer, key=ctx.key(), arg=answer_to(text))


@chat.handler()
async def take_answer(ctx: ObjectContext, answer: str) -> None:
    ctx.set("answer", answer)


@chat.handler(kind="shared")
async def get_chat_history(ctx: ObjectSharedContext) -> dict[str, Any]:
    return {"entries": [{"content": await ctx.get("answer", type_hint=str)}]}


def launch(place: Surroundings) -> Process:
    """Start it on the web server that ours has by default."""
    return Process(
        [sys.executable, "-m", "tests.bench.floor", str(place.port)],
        env=bare_environment(RESTATE_ADMIN_URL=place.admin_url, OPENAI_BASE_URL=place.llm_url),
        cwd=ROOT,
        log=place.folder / "service.log",
    )


if __name__ == "__main__":
    logging.basicConfig(level="WARNING")
    asyncio.run(serve_until_stopped(restate.app([chat, session]), Place("127.0.0.1", int(sys.argv[1]), "PORT")))
