"""`app/files/sweeping.py`: unused files are swept now and then, and nothing else stops by it."""

import logging
from importlib import import_module

import pytest

from app.errors import FilesUnavailable
from app.files.sweeping import sweeping
from tests.support.eventually import eventually


class FakeFiles:
    """Files whose disk is away the first time, and whose server the second."""

    def __init__(self) -> None:
        self.sweeps = 0

    async def sweep(self) -> int:
        self.sweeps += 1
        if self.sweeps == 1:
            raise OSError(5, "Input/output error")
        if self.sweeps == 2:
            raise FilesUnavailable
        return 2


async def test_it_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A disk or a server that is away is a line in the log, and the next sweep comes; it ends with the block."""
    files = FakeFiles()
    monkeypatch.setattr(import_module("app.files.sweeping"), "get_files", lambda: files)  # the room has its function
    with caplog.at_level(logging.INFO, logger="files"):
        async with sweeping(every_s=0.001):
            await eventually(lambda: files.sweeps >= 4)
    done = files.sweeps
    assert "cannot be swept: [Errno 5] Input/output error" in caplog.text
    assert "cannot be swept: The store of files does not answer" in caplog.text
    assert "Swept 2 files" in caplog.text
    async with sweeping(every_s=1000):
        await eventually(lambda: files.sweeps == done + 1)
