"""The documentation as blocks of code: what a reader pastes, and what the page says will be seen."""

import re
from dataclasses import dataclass
from pathlib import Path

from app.hosting.stack import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\S+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page; `file` is the path in its first line, if it has one."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        named = _FILE.match(self.text)
        return named[1] if named else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of `page`, in order."""
    text = page.read_text()
    return [Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _BLOCK.finditer(text)]


def shows(expected: str, seen: str) -> bool:
    """Return whether `seen` is what a block shows; its `…` stands for anything, white space does not count."""
    pattern = ".*?".join(re.escape(part) for part in _without_space(expected).split("…"))
    return re.fullmatch(pattern, _without_space(seen), re.DOTALL) is not None


def _without_space(text: str) -> str:
    return "".join(text.split())
