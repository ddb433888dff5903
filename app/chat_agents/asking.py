"""How durable code of chats and agents asks a handler, and what a refusal becomes.

Knows nothing of what is asked.
"""

from restate import TerminalError

from app.address import Address, I, O
from app.background.failure import refusal_of
from app.durable import Call


async def asked(address: Address[I, O], request: I, key: str | None) -> bytes:
    """Return the answer of a handler, as JSON. `key` is that of a virtual object.

    Durable: three journal entries.
    Errors: NotFound, Conflict, any other refusal as UsageError.
    """
    call = Call(address, request, key=key)
    await call.wait()
    try:
        return call.answer.result()
    except TerminalError as exc:
        raise refusal_of(exc) from exc
