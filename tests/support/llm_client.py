"""The client of the LLM in tests: one question to the fake server, and its answer or its error."""

from typing import Any

import pytest

from app.errors import LLMError
from app.llm import LLM, Reply, ToolSpec
from app.settings import Settings
from app.turns.transcript import Item, UserItem
from tests.support.llm_server import LLMServer, Plan

KEY = "sk-very-secret"
HI: list[Item] = [UserItem(message_id="m1", content="hi")]
SPEC = ToolSpec("execute_task", "Does a task.", {"type": "object", "properties": {}})


def settings_for(url: str, **values: Any) -> Settings:
    """Return settings with which the client asks the server at `url`."""
    values = {"openai_api_key": KEY, "openai_model": "tiny", "instructions": "Be brief.", **values}
    return Settings(_env_file=None, openai_base_url=url, **values)


async def ask(llm: LLM, server: LLMServer, plan: Plan) -> Reply:
    """Return the reply to a server that does `plan`."""
    server.script = lambda _: plan
    return await llm.complete(HI, [SPEC])


async def fail(llm: LLM, server: LLMServer, plan: Plan) -> LLMError:
    """Return the error that a server which does `plan` must lead to; it never has the key."""
    with pytest.raises(LLMError) as caught:
        await ask(llm, server, plan)
    assert KEY not in caught.value.message
    return caught.value
