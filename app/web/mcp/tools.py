"""The tools of our MCP server: what a client of the gateway can do with its chats, for agents of others.

Handlers of the chat decide; what they answer is passed on. Knows nothing of MCP.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import Field
from starlette.requests import Request

from app.turns.approval.protocol import ResolveRequest
from app.turns.protocol import Receipt, UserMessage
from app.turns.reading.protocol import HistoryRequest
from app.turns.waiting.protocol import StopRequest
from app.values import Input
from app.web.caller import caller_of, require_chat
from app.web.gateway import gateway_of
from app.web.ingress import NEW_MESSAGE, with_message_id
from app.web.listing import MAX_LISTED, list_chats, require_room
from app.web.mcp.waiting import LOOK_BACK, Tell, wait_for_reply
from app.web.waiting import MAX_WAIT_S, reply_in

A = TypeVar("A", bound=Input)


@dataclass(frozen=True)
class Use:
    """One call of a tool: the request that brought it, and how to say how far it is."""

    request: Request
    tell: Tell

    def key(self, chat: str | None) -> str:
        """Return the key of a chat of the caller. Errors: Refused: 403 for another's, 400 for what is no key."""
        return require_chat(self.request, caller_of(self.request).default_chat if chat is None else chat)

    async def handler(self, chat: str | None, name: str, body: Any = None) -> dict[str, Any]:
        """Call a handler of a chat. Errors: as Ingress.call."""
        answer: dict[str, Any] = await gateway_of(self.request).ingress.call(self.key(chat), name, body)
        return answer


@dataclass(frozen=True)
class OurTool(Generic[A]):
    """A tool. `schema` is that of its arguments."""

    name: str
    description: str
    arguments: type[A]
    run: Callable[[Use, A], Awaitable[dict[str, Any]]]
    reads_only: bool = False
    destroys: bool = False
    schema: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", self.arguments.model_json_schema())


class OfChat(Input):
    """Names a chat."""

    chat: str | None = Field(None, description="The key of the chat; without it, your first one")


class NewMessage(UserMessage, OfChat):
    """A message, and how long to wait for the reply."""

    wait_s: int = Field(0, ge=0, le=MAX_WAIT_S, description="Wait so many seconds for the reply, or for an approval")


class Page(HistoryRequest, OfChat):
    """Which turns to show."""

    limit: int = Field(10, gt=0, le=50)


class Stop(StopRequest, OfChat):
    """What to stop."""


class Decision(ResolveRequest, OfChat):
    """What is decided about a call that waits."""


class ListedChats(Input):
    """How many chats to list."""

    limit: int = Field(50, gt=0, le=MAX_LISTED)


async def send_message(use: Use, asked: NewMessage) -> dict[str, Any]:
    """Send a message, and wait for what is said to it. Who waits no more stops nothing."""
    key, gateway = use.key(asked.chat), gateway_of(use.request)
    message = with_message_id(asked.model_dump(mode="json", exclude={"chat", "wait_s"}, exclude_none=True))
    await require_room(use.request, key)
    if not asked.wait_s:
        answer: dict[str, Any] = await gateway.ingress.call(key, NEW_MESSAGE, message)
        return answer
    async with AsyncExitStack() as held:
        waiting = await wait_for_reply(use.request, key, message["message_id"], use.tell, held)
        receipt = Receipt.model_validate(await gateway.ingress.call(key, NEW_MESSAGE, message))
        await waiting(receipt, asked.wait_s)
    history = await gateway.ingress.call(key, "get_chat_history", {"limit": LOOK_BACK})
    reply = reply_in(history["entries"], receipt.message_id)
    return receipt.model_dump(mode="json") | {"reply": reply, "approvals": history.get("approvals", [])}


async def get_status(use: Use, asked: OfChat) -> dict[str, Any]:
    """Show the state of a chat."""
    return await use.handler(asked.chat, "get_status")


async def get_history(use: Use, asked: Page) -> dict[str, Any]:
    """Show turns of a chat."""
    return await use.handler(asked.chat, "get_chat_history", _body(asked))


async def stop(use: Use, asked: Stop) -> dict[str, Any]:
    """Stop the open turn."""
    return await use.handler(asked.chat, "stop", _body(asked))


async def resolve_approval(use: Use, asked: Decision) -> dict[str, Any]:
    """Decide about a call that waits."""
    return await use.handler(asked.chat, "resolve_approval", _body(asked))


async def chats(use: Use, asked: ListedChats) -> dict[str, Any]:
    """List the caller's chats."""
    return {"chats": [chat.model_dump() for chat in await list_chats(caller_of(use.request), asked.limit)]}


def _body(asked: OfChat) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude={"chat"}, exclude_none=True)


_ALL: tuple[OurTool[Any], ...] = (
    OurTool(
        "send_message",
        "Send a message to the agent of a chat. Answers at once with a receipt, or with `wait_s` when the agent has "
        "replied or wants a call approved: `reply` is what it did and said, null while it goes on. With a `message_id` "
        "of your own, sending again is safe, and waits on. The mode says what a message does to work that is going on: "
        "INTERRUPT, ROLLBACK, INCORPORATE, STEER, QUEUE, REJECT.",
        NewMessage,
        send_message,
    ),
    OurTool(
        "get_status",
        "Show whether the agent of a chat works, what waits, and the calls that wait for approval, with their ids.",
        OfChat,
        get_status,
        reads_only=True,
    ),
    OurTool(
        "get_history",
        "Show the last turns of a chat, oldest first. `next_before_turn` of the answer is the `before_turn` of the "
        "page before it.",
        Page,
        get_history,
        reads_only=True,
    ),
    OurTool(
        "stop",
        "End the turn that is open in a chat; `queue` says what becomes of the messages that wait, `rollback` undoes "
        "the work of the turn where that can be done.",
        Stop,
        stop,
        destroys=True,
    ),
    OurTool(
        "resolve_approval",
        "Approve or reject a tool call that waits for it, with the ids that get_status shows. `arguments` replace "
        "those of the call; a call with a `question` is approved with an `answer` that fits its `answer_schema`.",
        Decision,
        resolve_approval,
        destroys=True,
    ),
    OurTool("list_chats", "List your chats, open ones first, then the newest.", ListedChats, chats, reads_only=True),
)
TOOLS: Mapping[str, OurTool[Any]] = {tool.name: tool for tool in _ALL}
