"""The stream of what a chat does right now, to whoever watches; what is durable comes from ChatService.

Its events are in `events.py`. The rest of the house gets the hub of the process here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec

from app.errors import UsageError
from app.live.hub import Hub, LocalHub
from app.settings import Settings, get_settings

__all__ = ["Hub", "connect_hub", "get_hub", "open_hub", "require_redis"]

_SCHEMES = ("redis://", "rediss://", "unix://")


@cache
def get_hub() -> Hub:
    """Return the hub of this process."""
    return connect_hub(get_settings())


@asynccontextmanager
async def open_hub() -> AsyncIterator[None]:
    """Let the hub of this process tell of what happens, in this event loop."""
    hub = get_hub()
    await hub.start()
    try:
        yield
    finally:
        await hub.aclose()


def connect_hub(settings: Settings) -> Hub:
    """Return the hub that `settings` name: that of a Redis server, or that of this process alone.

    Errors: UsageError when Redis cannot be used.
    """
    if settings.redis_url is None:
        return LocalHub(max_chars=settings.max_reply_chars, alone=settings.workers == 1)
    require_redis(settings)
    from app.live.redis_hub import RedisHub  # an optional package

    try:
        return RedisHub(settings.redis_url.get_secret_value(), max_chars=settings.max_reply_chars)
    except ValueError:
        raise UsageError("REDIS_URL is no address of a server: its port or its path cannot be read.") from None


def require_redis(settings: Settings) -> None:
    """Raise UsageError with the cure if REDIS_URL cannot be used. It may hold a password, so it is not shown."""
    if settings.redis_url is None:
        return
    if not settings.redis_url.get_secret_value().startswith(_SCHEMES):
        raise UsageError(f"REDIS_URL is no address of a server: it must begin with {', '.join(_SCHEMES)}.")
    if not find_spec("redis"):
        raise UsageError(
            "REDIS_URL needs a package that is not installed here. Install it with `pip install --require-hashes "
            "-r requirements-redis.txt`, or leave REDIS_URL out."
        )
