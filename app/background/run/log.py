"""The log of agents: five levels, data beside the message, silent while a replay repeats what was logged before.

Where lines go is decided by the logging of the process.
"""

import logging
from typing import Any

from app.durable import get_logger


class Log:
    """Writes lines for agents and functions. Positional data and keyword fields follow the message."""

    def __init__(self, name: str) -> None:
        self._logger = get_logger(name)

    def debug(self, message: object, *data: Any, **fields: Any) -> None:
        self._write(logging.DEBUG, message, data, fields)

    def info(self, message: object, *data: Any, **fields: Any) -> None:
        self._write(logging.INFO, message, data, fields)

    def warning(self, message: object, *data: Any, **fields: Any) -> None:
        self._write(logging.WARNING, message, data, fields)

    def error(self, message: object, *data: Any, **fields: Any) -> None:
        self._write(logging.ERROR, message, data, fields)

    def critical(self, message: object, *data: Any, **fields: Any) -> None:
        self._write(logging.CRITICAL, message, data, fields)

    def exception(self, message: object, *data: Any, **fields: Any) -> None:
        """Write an error with the traceback of the exception that is being handled."""
        self._write(logging.ERROR, message, data, {"exc_info": True, **fields})

    def _write(self, level: int, message: object, data: tuple[Any, ...], fields: dict[str, Any]) -> None:
        exc_info = fields.pop("exc_info", None)
        shown = [str(message), *map(str, data), *(f"{name}={value!r}" for name, value in fields.items())]
        self._logger.log(level, "%s", " ".join(shown), exc_info=exc_info)


log = Log("agent")
