"""Waits until a message has its reply or its turn wants something approved, and says meanwhile how far it is.

Changes nothing: when nobody waits any more, the turn goes on.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing

from starlette.requests import Request

from app.live.events import CallStarted, ToolProgress, ToolStarted
from app.live.hints import note_change
from app.text import shorten
from app.turns.protocol import Receipt
from app.turns.reading.protocol import HistoryEntry
from app.web.agui.following import Following
from app.web.agui.goal import MessageAnswered
from app.web.agui.stream import joined
from app.web.gateway import gateway_of
from app.web.waiting import first_of, reply_to
from app.web.watch.events import StatusSeen, ViewEvent

LOOK_BACK = 20  # turns; a message that waited long stands before newer ones
MAX_TOLD_CHARS = 300
WANTS_APPROVAL = "waits for approval"

Tell = Callable[[int, str], Awaitable[None]]
Waiting = Callable[[Receipt, int], Awaitable[None]]


async def wait_for_reply(request: Request, key: str, message_id: str, tell: Tell, held: AsyncExitStack) -> Waiting:
    """Watch a chat from here on; return what waits then, until the message has its reply, for so many seconds.

    Errors: Refused if the caller has too many streams open.
    """
    happening = Happening()
    following = await joined(request, key, happening, held)

    async def wait(receipt: Receipt, wait_s: int) -> None:
        happening.turn_id = receipt.turn_id
        await following.begin(MessageAnswered(message_id, receipt.turn_id))
        note_change(key)  # the turn may run in another process, whose hints need not come here
        await first_of(reply_to(gateway_of(request), key, message_id, wait_s), _told(following, tell))

    return wait


async def _told(following: Following[str], tell: Tell) -> None:
    """Tell what happens, until the end, or until an approval is wanted."""
    number = 0
    async with aclosing(following.told()) as told:
        async for text in told:
            number += 1
            await tell(number, text)
            if text == WANTS_APPROVAL:
                return


class Happening:
    """What happens in the chat, in words. `turn_id` is the turn that counts."""

    turn_id = 0

    def start(self, history: Iterable[HistoryEntry]) -> list[str]:  # noqa: ARG002 - others read it
        """Say nothing of what was said before."""
        return []

    def take(self, event: ViewEvent) -> list[str]:
        """Return what an event of the view says."""
        match event:
            case CallStarted(text_id) if text_id.turn_id == self.turn_id:
                return ["the agent thinks"]
            case ToolStarted(text_id, _, name) if text_id.turn_id == self.turn_id:
                return [f"the agent calls {shorten(name, MAX_TOLD_CHARS)}"]
            case ToolProgress(turn_id, _, text) if turn_id == self.turn_id:
                return [shorten(text, MAX_TOLD_CHARS)]
            case StatusSeen(status):
                wants = [turn for turn in status.open_turns if turn.turn_id == self.turn_id and turn.approvals]
                return [WANTS_APPROVAL] if wants else []
        return []

    def catch_up(self, history: Iterable[HistoryEntry]) -> list[str]:  # noqa: ARG002 - others read it
        """Say nothing twice."""
        return []
