"""The module `observability` of the published library: the logger below `log`.

A list of names. Logging is set up elsewhere.
"""

import logging
from typing import Any

from app.background.run.log import log

__all__ = ["log_with_context", "logger"]

logger = logging.getLogger("agent")


def log_with_context(level: str, message: str, **kwargs: Any) -> None:
    """Write a line at `level`, a name like "INFO", with the fields after the message."""
    {"DEBUG": log.debug, "WARNING": log.warning, "ERROR": log.error, "CRITICAL": log.critical}.get(
        level.upper(), log.info
    )(message, **kwargs)
