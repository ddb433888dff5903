"""What a function calls while a step runs it: its info, and heartbeats.

Owns the current function as a context variable. Runs nothing.
"""

from contextvars import ContextVar
from typing import Any

from app.background.functions.info import FunctionInfo
from app.errors import DefinitionError

_current: ContextVar[FunctionInfo] = ContextVar("background_function")


def in_function() -> bool:
    """Return whether a function that a step runs is what asks."""
    return _current.get(None) is not None


def heartbeat(*details: Any) -> None:
    """Report that this function is alive. Without it a step with a `heartbeat_timeout` is aborted and tried again.

    Errors: DefinitionError outside of a function that a step runs.
    """
    function_info().heard(details)


def function_info() -> FunctionInfo:
    """Return the info of the function that runs. Errors: DefinitionError outside of a function that a step runs."""
    try:
        return _current.get()
    except LookupError:
        raise DefinitionError("No function runs here; call this in a function that agent.step() was given") from None


def enter(info: FunctionInfo) -> None:
    """Make `info` the current one for this task and the threads it starts: an attempt begins."""
    info.begins()
    _current.set(info)


def mcp_progress(progress: float, total: float | None = None, message: str | None = None) -> bool:
    """Send a heartbeat that says how far the function is. Return whether one could be sent."""
    if not in_function():
        return False
    told = {"progress": float(progress), "total": total, "message": message}
    heartbeat({name: value for name, value in told.items() if value is not None})
    return True
