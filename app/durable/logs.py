"""Loggers that are silent during replay, in durable code and in plain handlers.

How a line looks and where it goes is not set up here.
"""

import asyncio
import logging

from restate.server_context import restate_context_is_replaying

from app.durable.loop.event_loop import DurableLoop


def replaying() -> bool:
    """Return whether what runs now has run before. After a crash of the process this may be no more than a guess."""
    loop = asyncio._get_running_loop()
    return loop.replaying if isinstance(loop, DurableLoop) else restate_context_is_replaying.get()


class _ReplayFilter(logging.Filter):
    """Lets nothing through during a replay."""

    def filter(self, _record: logging.LogRecord) -> bool:
        return not replaying()


def get_logger(name: str) -> logging.Logger:
    """Return the logger `name`. What a replay repeats is written once."""
    logger = logging.getLogger(name)
    if not any(isinstance(present, _ReplayFilter) for present in logger.filters):
        logger.addFilter(_ReplayFilter())
    return logger
