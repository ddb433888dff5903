"""How code names a handler and gives it its input, in the forms of the published library.

Pure. What the agent has is not known here.
"""

from collections.abc import Callable, Sequence
from typing import Any

from app.errors import UsageError


def name_of(handler: str | Callable[..., Any]) -> str:
    """Return the name of an event or a state, which may be given as the method itself."""
    if isinstance(handler, str):
        return handler
    name = getattr(handler, "__name__", None)
    if name is None:
        raise UsageError(f"{handler!r} is neither the name of an event nor its method")
    return str(name)


def only_input(arg: Any, args: Sequence[Any]) -> Any:
    """Return the one input of a handler. Errors: UsageError for several."""
    if len(args) > 1:
        raise UsageError(f"A handler takes one input, got {len(args)}: give it one, for example a dict")
    return args[0] if args else arg
