"""The async generators of a durable loop, from their first iteration to their end.

Owns the references that keep the garbage collector from closing one at a moment of its own. Closes none itself.
"""

from collections.abc import AsyncGenerator
from typing import Any

_FEW = 64  # generators that are kept without looking for those that have ended


class Generators:
    """The generators that have begun and not ended, oldest first."""

    def __init__(self) -> None:
        self._begun: list[AsyncGenerator[Any, Any]] = []
        self._look_at = _FEW

    def adopt(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Keep a generator that begins."""
        self._begun.append(generator)
        if len(self._begun) > self._look_at:
            self._begun = self._open()
            self._look_at = max(_FEW, 2 * len(self._begun))

    def take(self) -> list[AsyncGenerator[Any, Any]]:
        """Hand over those that have not ended."""
        taken = self._open()
        self._begun = []
        return taken

    def _open(self) -> list[AsyncGenerator[Any, Any]]:
        return [generator for generator in self._begun if getattr(generator, "ag_frame", None) is not None]
