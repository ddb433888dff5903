"""README and docs: every block does what the page says, pasted in order into a fresh clone with `make run` going."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.hosting.stack import ROOT
from tests.support.pages import PAGES, Block, blocks_of
from tests.support.reader import Reader

# What cannot be pasted here, and why; a block that is here must exist.
NOT_PASTED = {
    "make run ": "the reader has it going; tests/acceptance/test_main.py proves how it starts and ends",
}

NO_COMMANDS = {
    "jsonc": "a file that names servers which are not installed here; tests/integration/mcp has such files",
    "mermaid": "a diagram",
    "nginx": "the configuration of a proxy that is not installed here",
    "shell-session": "a story of several terminals or of an installation; tests of their own run its commands",
}


def reason_not_to_paste(block: Block) -> str | None:
    if block.language in NO_COMMANDS:
        return NO_COMMANDS[block.language]
    return next((why for start, why in NOT_PASTED.items() if block.text.startswith(start)), None)


@pytest_asyncio.fixture
async def reader(tmp_path_factory: pytest.TempPathFactory, restate_binary: str) -> AsyncIterator[Reader]:
    """A newcomer with a fresh clone, whose path leaves room for that of a socket."""
    reader = Reader(tmp_path_factory.mktemp("reader"), restate_binary)
    reader.make_clone()
    yield reader
    await reader.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
async def test_every_block_of_the_page_runs_as_pasted(page: Path, reader: Reader) -> None:
    """Commands succeed, programs run and are typed, and what the page shows is what is seen."""
    pasted = [block for block in blocks_of(page) if reason_not_to_paste(block) is None]
    for block in pasted:
        await reader.read(block)
    if programs := [block.file for block in pasted if block.language == "python" and block.file]:
        await reader.check_types(programs)


def test_nothing_is_exempt_that_is_not_there() -> None:
    """Every exemption is of a block that some page has."""
    texts = [block.text for page in PAGES for block in blocks_of(page)]
    assert [start for start in NOT_PASTED if not any(text.startswith(start) for text in texts)] == []
