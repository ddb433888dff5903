"""How a run is stopped: by its message, wherever that is by now, so that a late request cannot stop another turn."""

from typing import Any

from app.errors import AgentError
from app.turns.reading.protocol import ChatStatus, History
from app.web.agui.goal import is_open
from app.web.ingress import Ingress

LOOK_BACK = 20  # turns


async def stop_chat(ingress: Ingress, key: str) -> dict[str, Any]:
    """Stop what is open in a chat and withdraw what waits."""
    answer: dict[str, Any] = await ingress.call(key, "stop", {})
    return answer


async def stop_message(ingress: Ingress, key: str, message_id: str) -> dict[str, Any]:
    """Withdraw a message that waits, or stop the turn that has it; what others have sent goes on.

    Errors: as Ingress.call.
    """
    try:
        answer = await ingress.call(key, "withdraw_queued_message", {"message_id": message_id})
    except AgentError as exc:
        if exc.status == 404:  # the chat was forgotten
            return {"stopped": False}
        raise
    if answer["result"] == "applied":
        return {"stopped": True, "withdrawn": [message_id]}
    history = History.model_validate(await ingress.call(key, "get_chat_history", {"limit": LOOK_BACK}))
    turns = [entry.turn_id for entry in history.entries if entry.message_id == message_id and is_open(entry.status)]
    if not turns:
        return {"stopped": False}
    status = ChatStatus.model_validate(await ingress.call(key, "get_status"))
    others_wait = any(turn.waiting for turn in status.open_turns)
    queue = "send" if others_wait else "withdraw"  # where nobody waits, what is held stays held
    stopped: dict[str, Any] = await ingress.call(key, "stop", {"turn_id": turns[0], "queue": queue})
    return stopped
