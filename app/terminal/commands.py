"""What a line of the prompt means: a message, or a command that begins with a slash.

Draws nothing: it gives lines back.
"""

import uuid

from app.terminal.feed import ChatFeed, Line, lines_of
from app.terminal.gateway import ChatGateway, Refused
from app.text import printable
from app.turns.modes import Mode

HELP = """\
Enter sends; while the agent works, the chat's mode says what that does. Alt+Enter sends in the other mode.
Esc stops the agent and holds what waits; Esc again sends all of it, in order.
/mode [MODE]          show the chat's mode, or set it: INTERRUPT, STEER, INCORPORATE, QUEUE, ROLLBACK, REJECT
/queue                show what waits, with numbers
/edit N TEXT          change message N of the queue     /drop N   take it back     /now N   send it now
/history [TURNS]      show the last turns
/stop   /resume       as Esc and Esc again
/quit                 leave; the agent goes on
//text                a message that begins with a slash"""
HISTORY_TURNS = 10


def other_than(mode: str | None) -> str:
    """Return the mode that Alt+Enter gives a message: to wait, or to steer where waiting is the rule."""
    return Mode.STEER if mode == Mode.QUEUE else Mode.QUEUE


class Commands:
    """The commands of one chat. `feed` knows how it is with the chat."""

    def __init__(self, gateway: ChatGateway, feed: ChatFeed) -> None:
        self._gateway = gateway
        self._feed = feed
        self.stopping = False  # from a stop until the chat says that nothing runs

    async def take(self, text: str, *, other_mode: bool = False) -> list[Line]:
        """Do what a line says and return what to show of it. Errors: none; what went wrong is a line."""
        text = text.strip()
        try:
            if text.startswith("/") and not text.startswith("//"):
                return await self._command(*text[1:].partition(" ")[::2])
            if text:
                await self._say(text.replace("//", "/", 1) if text.startswith("//") else text, other_mode)
        except Refused as refused:
            return [Line("error", printable(refused.message))]
        return []

    async def _say(self, content: str, other_mode: bool) -> None:
        mode = other_than((self._feed.status or {}).get("mode")) if other_mode else None
        message_id = str(uuid.uuid4())
        self._feed.sending(message_id, content)
        await self._gateway.send(message_id, content, mode=mode)

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
