"""A chat on a terminal: the answer streams above the prompt, and one types meanwhile.

What is shown and what lines mean is decided elsewhere; here it is drawn, and keys are heard.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from app.terminal.commands import Commands
from app.terminal.feed import ChatFeed, Line
from app.terminal.gateway import ChatGateway
from app.text import printable

_DRAW_EVERY_S = 0.03  # a fast model writes more often than eyes can read
_LEAVE_WITHIN_S = 1.0
_LIVE_LINES = 8  # of the line that is being written
_STYLE = Style.from_dict(
    {
        "user": "bold",
        "thought": "ansibrightblack italic",
        "tool": "ansibrightblack",
        "ask": "ansiyellow",
        "note": "ansibrightblack italic",
        "error": "ansired",
        "prompt": "ansicyan bold",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)


class Screen:
    """The terminal of one chat."""

    def __init__(self, gateway: ChatGateway) -> None:
        self._gateway = gateway
        self._feed = ChatFeed()
        self._commands = Commands(gateway, self._feed, self._show)
        self._trouble = "Connecting…"
        self._lines: list[Line] = []
        self._other_mode = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: PromptSession[str] = PromptSession(
            message=self._message,
            bottom_toolbar=self._toolbar,
            key_bindings=self._keys(),
            style=_STYLE,
            erase_when_done=True,  # what was sent is shown when the chat has it
        )
        # Escape is the beginning of other keys, too: this long it may be one of them.
        self._session.app.ttimeoutlen = 0.05
        self._session.app.timeoutlen = 0.25

    async def run(self) -> int:
        """Show the chat until the person leaves; return the exit code: 1 if a message was not sent.

        Errors: Refused where nothing can be shown.
        """
        with patch_stdout():
            follow = asyncio.create_task(self._follow())
            draw = asyncio.create_task(self._draw())
            prompt = asyncio.create_task(self._prompt())
            try:
                await asyncio.wait((follow, prompt), return_when=asyncio.FIRST_COMPLETED)
                if follow.done():
                    follow.result()  # it ends only with an error
                if self._commands.unsent:  # one may just be on its way
                    await asyncio.wait(self._tasks, timeout=_LEAVE_WITHIN_S)
            finally:
                for task in (follow, draw, prompt, *self._tasks):
                    task.cancel()
                await asyncio.gather(follow, draw, prompt, *self._tasks, return_exceptions=True)
                self._print(_formatted(Line("error", f"Not sent: {content}") for content in self._commands.unsent))
        return 1 if self._commands.unsent else 0

    async def _prompt(self) -> None:
        while True:
            try:
                text = await self._session.prompt_async()
            except (EOFError, KeyboardInterrupt):
                return
            other, self._other_mode = self._other_mode, False
            if text.strip() in ("/quit", "/exit"):
                return
            self._start(self._commands.take(text, other_mode=other))

    async def _follow(self) -> None:
        async for event in self._gateway.follow(self._on_state):
            self._show(self._feed.take(event))
            self._session.app.invalidate()

    def _on_state(self, trouble: str) -> None:
        self._trouble = trouble
        self._session.app.invalidate()

    def _start(self, work: Coroutine[Any, Any, Iterable[Line]]) -> None:
        """Do something while the prompt stays; what it gives is shown."""

        async def done() -> None:
            self._show(await work)

        task = asyncio.create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _show(self, lines: Iterable[Line]) -> None:
        self._lines += lines

    async def _draw(self) -> None:
        """Print what has gathered above the prompt."""
        while True:
            await asyncio.sleep(_DRAW_EVERY_S)
            if self._lines:
                lines, self._lines = self._lines, []
                self._print(_formatted(lines))

    def _print(self, text: FormattedText) -> None:
        """Print above the prompt. `run_in_terminal` would let the terminal echo what is typed in that moment."""
        app = self._session.app
        if app.is_running:
            app.renderer.erase()
        print_formatted_text(app.output, text, _STYLE)
        if app.is_running:
            app.renderer.request_absolute_cursor_position()
            app.invalidate()

    def _message(self) -> FormattedText:
        """Return the prompt; above it stands the end of the line that is being written."""
        width = max(self._session.app.output.get_size().columns - 1, 20)
        live = wrapped(self._feed.partial.expandtabs(4), width)[-_LIVE_LINES:]
        return FormattedText([("", "".join(f"{line}\n" for line in live)), ("class:prompt", "› ")])

    def _toolbar(self) -> FormattedText:
        feed, status = self._feed, self._feed.status or {}
        parts = [printable(self._gateway.key), str(status.get("mode", ""))]
        if self._trouble:
            return FormattedText([("class:error", printable(self._trouble))])
        if feed.held:
            parts.append(f"{len(feed.held)} held (Esc sends)" if not feed.busy else f"{len(feed.held)} held")
        if feed.waiting:
            parts.append(f"{len(feed.waiting)} waiting")
        if feed.approvals:
            parts.append(f"{len(feed.approvals)} for you to decide (/approvals)")
        waits = [turn["waiting_for"] for turn in status.get("open_turns", ())[:1] if turn.get("waiting_for")]
        if waits:
            parts.append(printable(f"waits until {waits[0]['until']}: {waits[0]['reason']}"))
        parts.append("working · Esc stops" if feed.busy else "/help")
        return FormattedText([("", " · ".join(part for part in parts if part))])

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("escape")
        def _stop(_: KeyPressEvent) -> None:
            self._start(self._commands.escape())

        @keys.add("escape", "enter")
        def _send_otherwise(event: KeyPressEvent) -> None:
            self._other_mode = True
            event.current_buffer.validate_and_handle()

        return keys


def wrapped(text: str, width: int) -> list[str]:
    """Return `text` in lines of at most `width` columns; [] for no text."""
    lines, line, used = list[str](), "", 0
    for char in text:
        size = get_cwidth(char)
        if used + size > width:
            lines.append(line)
            line, used = "", 0
        line, used = line + char, used + size
    return [*lines, line] if line else lines


def _formatted(lines: Iterable[Line]) -> FormattedText:
    parts = []
    for line in lines:
        text = f"› {line.text}" if line.kind == "user" else line.text
        parts.append((f"class:{line.kind}", f"{text}\n"))
    return FormattedText(parts)
