"""Aborts that are foreseen: an action that runs in this process ends before the engine has brought the word to end it.

A cancellation or a signal goes through the log of the engine twice, which takes about 6 ms (measured), and reaches no
handler whose stream is half-closed. Who sends one to an invocation that runs in the same process ends its action at
once. The word is still sent, and what the action was told is part of its recorded result: a replay needs no process.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_running: dict[str, list["Abortable"]] = {}  # by invocation


class Abortable:
    """An action that `abort_now` can end. `word` is why it did, None if it did not."""

    def __init__(self, action: asyncio.Task[Any]) -> None:
        self._action = action
        self.word: str | None = None

    def abort(self, word: str) -> None:
        self.word = word
        self._action.cancel()


@contextmanager
def abortable(invocation_id: str, action: asyncio.Task[Any]) -> Iterator[Abortable]:
    """Let `abort_now` end `action`, inside of this block."""
    entry = Abortable(action)
    _running.setdefault(invocation_id, []).append(entry)
    try:
        yield entry
    finally:
        _running[invocation_id].remove(entry)
        if not _running[invocation_id]:
            del _running[invocation_id]


def abort_now(invocation_id: str, word: str) -> None:
    """End the abortable actions of an invocation that run in this process. `word` says why."""
    for entry in tuple(_running.get(invocation_id, ())):
        entry.abort(word)
