"""A terminal for tests: a pseudo-terminal on which a program runs, that types and remembers what was drawn."""

import asyncio
import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from app.hosting.stack import end_with_parent
from tests.support.eventually import eventually

ROWS, COLUMNS = 24, 80
_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[=>78]|[\r\n\b\x07]|[^\x1b]")
_HALF = re.compile(r"\x1b(\[[0-9;?]*)?$")  # the beginning of a sequence whose end is still on its way


class Screen:
    """What a person sees: knows the few sequences that prompt_toolkit draws with. `above` has scrolled away."""

    def __init__(self) -> None:
        self.above: list[str] = []
        self._rows = [[" "] * COLUMNS for _ in range(ROWS)]
        self._row = self._column = 0
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        return [*self.above, *("".join(row).rstrip() for row in self._rows)]

    @property
    def place(self) -> str:
        """Where the cursor is, as a terminal answers it."""
        return f"\x1b[{self._row + 1};{min(self._column, COLUMNS - 1) + 1}R"

    def draw(self, text: str) -> Iterator[str]:
        """Obey `text`; yield what the terminal answers."""
        text = self._rest + text
        half = _HALF.search(text)
        self._rest = half[0] if half else ""
        for token in _TOKEN.finditer(text.removesuffix(self._rest)):
            if token[2] == "n":
                yield self.place
            elif token[2]:
                self._move(token[2], [int(part) if part.isdecimal() else 0 for part in token[1].split(";")])
            elif not token[0].startswith("\x1b"):
                self._put(token[0])

    def _move(self, command: str, numbers: list[int]) -> None:
        count = max(numbers[0], 1)
        match command:
            case "A":
                self._row = max(self._row - count, 0)
            case "B":
                self._row = min(self._row + count, ROWS - 1)
            case "C":
                self._column = min(self._column + count, COLUMNS - 1)
            case "D":
                self._column = max(self._column - count, 0)
            case "H":
                self._row, self._column = count - 1, (max(numbers[1], 1) if len(numbers) > 1 else 1) - 1
            case "K" | "J":
                self._rows[self._row][self._column :] = [" "] * (COLUMNS - self._column)
                below = range(self._row + 1, ROWS) if command == "J" else ()
                for row in below:
                    self._rows[row] = [" "] * COLUMNS

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._down()
        elif char == "\b":
            self._column = max(self._column - 1, 0)
        elif char != "\x07":
            if self._column == COLUMNS:
                self._column = 0
                self._down()
            self._rows[self._row][self._column] = char
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == ROWS:
            self._row -= 1
            self.above.append("".join(self._rows.pop(0)).rstrip())
            self._rows.append([" "] * COLUMNS)


class Terminal:
    """A program on a terminal. `raw` is all that it wrote, `text` what a person has seen and sees."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.raw = ""
        self._screen = Screen()
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**env, "TERM": "xterm"},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # Linux says so when the program has ended
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            while chunk := os.read(self._ours, 65536):
                text = decoder.decode(chunk)
                self.raw += text
                for answer in self._screen.draw(text):
                    os.write(self._ours, answer.encode())

    @property
    def text(self) -> str:
        return "\n".join(self._screen.lines) + "\n"

    def type(self, keys: str) -> None:
        self.type_bytes(keys.encode())

    def type_bytes(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    async def shows(self, *texts: str, timeout_s: float = 20) -> None:
        """Wait until all of these were drawn."""

        def drawn() -> bool:
            missing = [text for text in texts if text not in self.text]
            assert not missing, f"{missing} not in:\n{self.text}"
            return True

        await eventually(drawn, timeout_s=timeout_s)

    async def ends(self, *, timeout_s: float = 10) -> int:
        """Wait for the end of the program and return its exit code."""
        await eventually(lambda: self._process.poll() is not None, timeout_s=timeout_s)
        assert self._process.returncode is not None
        return self._process.returncode

    async def close(self) -> None:
        """End the program if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(self._reader.join, 5)
        os.close(self._ours)
