"""The LLM: an OpenAI-compatible server, or the offline model.

The rest of the house imports from here, never from the modules below it.
"""

from functools import cache

import httpx2
from openai import AsyncOpenAI

from app.files import files_of
from app.llm.allowance import Rates
from app.llm.client import LLM, CallLimits
from app.llm.failures import tame
from app.llm.offline.model import OfflineTransport
from app.llm.reply import Failure, Reply
from app.llm.wire import ToolSpec
from app.settings import Settings, get_settings

__all__ = ["LLM", "Failure", "Reply", "ToolSpec", "connect", "get_llm"]

KEPT_CONNECTIONS = 100  # idle ones that wait for the next call


@cache
def get_llm() -> LLM:
    """Return the LLM of this process."""
    return connect(get_settings())


def connect(settings: Settings) -> LLM:
    """Return the LLM that `settings` name: a server, or the offline model when they name neither key nor server."""
    key = settings.openai_api_key.get_secret_value().strip() if settings.openai_api_key else None
    offline = key is None and settings.openai_base_url is None
    transport = OfflineTransport(iterations=settings.offline_iterations, pace_s=settings.offline_pace_s)
    client = AsyncOpenAI(
        api_key=key or "unused",  # the SDK insists on one; servers that want none ignore it
        base_url="http://offline-model/v1" if offline else settings.openai_base_url,
        timeout=settings.llm_timeout_s,
        max_retries=0,
        http_client=httpx2.AsyncClient(
            transport=transport if offline else None,
            follow_redirects=True,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS),  # LLM counts calls
            event_hooks={"response": [tame]},
        ),
    )
    limits = CallLimits(
        timeout_s=settings.llm_timeout_s,
        max_reply_chars=settings.max_reply_chars,
        max_connections=settings.llm_max_connections,
        max_retry_after_s=settings.llm_max_retry_after_s,
        rates=Rates(settings.llm_requests_per_min, settings.llm_tokens_per_min, settings.workers),
    )
    return LLM(
        client,
        model=settings.openai_model,
        instructions=settings.instructions,
        limits=limits,
        responses=settings.openai_api == "responses" and not offline,  # the offline model speaks Chat Completions
        read_file=files_of(settings).read,
    )
