"""The stream of what a chat does right now, to whoever watches; what is durable comes from ChatService.

Its events are in `events.py`. The rest of the house gets the hub of the process here.
"""

from functools import cache

from app.live.hub import Hub, LocalHub
from app.settings import Settings, get_settings

__all__ = ["Hub", "connect_hub", "get_hub"]


@cache
def get_hub() -> Hub:
    """Return the hub of this process."""
    return connect_hub(get_settings())


def connect_hub(settings: Settings) -> Hub:
    """Return the hub that `settings` name."""
    return LocalHub(max_chars=settings.max_reply_chars, alone=settings.workers == 1)
