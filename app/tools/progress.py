"""How far a tool is, told to those who watch the chat while it runs.

Nothing of it is stored, and the LLM does not see it: the result of the tool says what it did.
"""

from collections.abc import Callable
from contextvars import ContextVar

Tell = Callable[[str], None]

tells: ContextVar[Tell] = ContextVar("how far the tool call is", default=lambda _: None)


def progress() -> Tell:
    """Return the function that says in a sentence how far this call of the tool is.

    Ask for it in the tool, and call it in the actions of its steps: a replay does not repeat those. Never raises.
    """
    return tells.get()
