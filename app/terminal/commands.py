"""What a line of the prompt means: a message, or a command that begins with a slash.

Draws nothing: it gives lines back.
"""

import asyncio
import uuid
from collections.abc import Callable

from app.terminal import approvals
from app.terminal.approvals import asked_lines
from app.terminal.feed import ChatFeed, Line, lines_of
from app.terminal.gateway import ChatGateway, Refused
from app.text import clean, printable, shorten
from app.turns.modes import Mode

HELP = f"""\
Enter sends; while the agent works, the chat's mode says what that does. Alt+Enter sends in the other mode.
Esc stops the agent and holds what waits; Esc again sends all of it, in order.
/mode [MODE]          show the chat's mode, or set it: INTERRUPT, STEER, INCORPORATE, QUEUE, ROLLBACK, REJECT
/queue                show what waits, with numbers
/edit N TEXT          change message N of the queue     /drop N   take it back     /now N   send it now
/history [TURNS]      show the last turns
{approvals.HELP}
/undo                 show what can be undone of the turn that runs; /undo now stops it and undoes that
/stop   /resume       as Esc and Esc again
/quit                 leave; the agent goes on
//text                a message that begins with a slash"""
HISTORY_TURNS = 10
_SHOWN_CHARS = 60  # of a message that waits here


def other_than(mode: str | None) -> str:
    """Return the mode that Alt+Enter gives a message: to wait, or to steer where waiting is the rule."""
    return Mode.STEER if mode == Mode.QUEUE else Mode.QUEUE


class Commands:
    """The commands of one chat. `feed` knows how it is with the chat; `show` gets what is to be said meanwhile."""

    def __init__(self, gateway: ChatGateway, feed: ChatFeed, show: Callable[[list[Line]], None]) -> None:
        self._gateway = gateway
        self._feed = feed
        self._show = show
        self._unsent: dict[str, str] = {}  # by id: messages without a receipt, in order
        self._told: set[str] = set()  # those of them of which the person knows that they wait
        self._in_order = asyncio.Lock()  # fair: who waits first is first
        self.stopping = False  # from a stop until the chat says that nothing runs

    async def take(self, text: str, *, other_mode: bool = False) -> list[Line]:
        """Do what a line says and return what to show of it. Errors: none; what went wrong is a line."""
        text = clean(text.strip())  # a terminal sends whatever bytes it likes
        try:
            if text.startswith("/") and not text.startswith("//"):
                return await self._command(*text[1:].partition(" ")[::2])
            if text:
                await self._say(text.replace("//", "/", 1) if text.startswith("//") else text, other_mode)
        except Refused as refused:
            return [Line("error", printable(refused.message))]
        return []

    @property
    def unsent(self) -> list[str]:
        """The messages that the chat is not known to have, in order."""
        return [printable(content) for content in self._unsent.values()]

    async def _say(self, content: str, other_mode: bool) -> None:
        """Send a message behind all that were typed before it, however long the gateway is away."""
        mode = other_than((self._feed.status or {}).get("mode")) if other_mode else None
        message_id = str(uuid.uuid4())
        self._feed.sending(message_id, content)
        self._unsent[message_id] = content
        if self._told:
            self._tell_of_waiting("")
        async with self._in_order:
            try:
                await self._gateway.send(message_id, content, mode=mode, on_trouble=self._tell_of_waiting)
            except Refused:
                self._show([Line("error", f"Not sent: {_short(content)}")])
                self._received(message_id)
                raise
            if message_id in self._told:
                self._show([Line("note", f"Sent: {_short(content)}")])
            self._received(message_id)

    def _received(self, message_id: str) -> None:
        """Forget a message that has its answer. A cancelled one stays: nobody knows of it."""
        del self._unsent[message_id]
        self._told.discard(message_id)

    def _tell_of_waiting(self, why: str) -> None:
        """Say once of each message that it waits here."""
        untold = [message_id for message_id in self._unsent if message_id not in self._told]
        why = f" ({printable(why)})" if why else ""
        self._show(
            [
                Line("note", f"Not sent yet, tried again until it is: {_short(self._unsent[each])}{why}")
                for each in untold
            ]
        )
        self._told |= set(untold)

    async def escape(self) -> list[Line]:
        """Stop, or if that was done already send what is held."""
        if self._feed.busy and not self._is_stopping:
            return await self.take("/stop")
        return await self.take("/resume") if self._feed.busy or self._feed.held else []

    @property
    def _is_stopping(self) -> bool:
        turns = (self._feed.status or {}).get("open_turns", ())
        self.stopping = self.stopping and self._feed.busy
        return self.stopping or any(turn["stopping"] for turn in turns[:1])

    async def _command(self, name: str, rest: str) -> list[Line]:
        match name:
            case "help":
                return [Line("note", line) for line in HELP.split("\n")]
            case "mode":
                return await self._mode(rest.strip().upper())
            case "queue":
                return self._queue()
            case "history":
                turns = int(rest) if rest.strip().isdecimal() else HISTORY_TURNS
                return lines_of(await self._gateway.history(max(1, min(turns, 200))))
            case "stop":
                self.stopping = self._feed.busy
                answer = await self._gateway.call("stop", queue="hold")
                return [] if answer.get("stopped") else [Line("note", "Nothing runs.")]
            case "resume":
                await self._gateway.call("resume")
                return []
            case "approvals":
                asked = [line for n, each in enumerate(self._feed.approvals, 1) for line in asked_lines(n, each)]
                return [Line("ask", line) for line in asked] or [Line("note", "Nothing waits for you.")]
            case "approve" | "reject" | "answer":
                return await self._decide(name, rest)
            case "undo":
                return await self._undo(rest.strip())
            case "edit" | "drop" | "now":
                return await self._change(name, *rest.strip().partition(" ")[::2])
        return [Line("error", f"/{printable(name)} is not known; /help says what is.")]

    async def _mode(self, name: str) -> list[Line]:
        if not name:
            return [Line("note", f"The mode is {(self._feed.status or {}).get('mode', 'not known yet')}.")]
        if name not in Mode.__members__:
            return [Line("error", f"There is no mode {printable(name)}: {', '.join(Mode)}.")]
        answer = await self._gateway.call("set_mode", mode=name)
        return [Line("note", f"The mode is {answer['mode']}.")]

    def _queue(self) -> list[Line]:
        numbered = enumerate([*self._feed.held, *self._feed.waiting], 1)
        held = len(self._feed.held)
        lines = [
            Line("note", f"{n}. {'held' if n <= held else message['mode']}: {printable(message['content'], keep='')}")
            for n, message in numbered
        ]
        return lines or [Line("note", "Nothing waits.")]

    async def _decide(self, name: str, rest: str) -> list[Line]:
        try:
            decision = approvals.decision_of(name, rest, self._feed.approvals)
        except approvals.Unclear as unclear:
            return [Line("error", printable(str(unclear)))]
        too_late = approvals.told(await self._gateway.call("resolve_approval", **decision))
        return [Line("error", too_late)] if too_late else []

    async def _undo(self, rest: str) -> list[Line]:
        """Show what a rollback would undo, or have it done: never the one for the other."""
        if rest == "now":
            self.stopping = self._feed.busy
            answer = await self._gateway.call("stop", queue="hold", rollback=True)
            return [] if answer.get("stopped") else [Line("note", "Nothing runs.")]
        preview = await self._gateway.preview_rollback()
        if preview["turn_id"] is None:
            return [Line("note", "Nothing runs.")]
        return [Line("note", line) for line in approvals.undo_lines(preview)]

    async def _change(self, name: str, number: str, text: str) -> list[Line]:
        messages = [*self._feed.held, *self._feed.waiting]
        if not number.isdecimal() or not 0 < int(number) <= len(messages):
            return [Line("error", f"/{name} wants the number of a message that waits: /queue shows them.")]
        message_id = messages[int(number) - 1]["message_id"]
        if name == "edit":
            if not text.strip():
                return [Line("error", "/edit wants the new text behind the number.")]
            answer = await self._gateway.call("edit_queued_message", message_id=message_id, content=text)
        else:
            handler = {"drop": "withdraw_queued_message", "now": "promote_queued_message"}[name]
            answer = await self._gateway.call(handler, message_id=message_id)
        taken = answer.get("result") == "already_taken"
        return [Line("error", "Too late: the agent has this message already.")] if taken else []


def _short(content: str) -> str:
    return shorten(printable(content), _SHOWN_CHARS)
