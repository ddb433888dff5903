"""`app/engine/unfit.py`: what was ended because its journal does not fit is known to all workers of the service."""

import tempfile

import pytest

from app.engine import admin, unfit
from app.engine.journal_watch import Unfit


async def test_other_workers_know_what_one_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chat may be told why its turn ended by another worker than the one that has ended it."""

    async def done(_: str) -> None:
        """Be the engine, and the chat that is asked."""

    monkeypatch.setattr(admin, "kill", done)
    monkeypatch.setattr(unfit, "_look_after", done)
    with tempfile.TemporaryFile(buffering=0) as notes:
        monkeypatch.setattr(unfit, "_shared_notes", [])
        unfit.share_notes(notes.fileno())
        for number in range(3):
            await unfit.end_unfit(Unfit(f"inv_{number}", "AgentSession", "ellie", "they differ"), restate_cli="restate")
        unfit._ended.clear()  # as another process has it

        assert await unfit.why_ended("inv_1") == unfit.CODE_CHANGED
        assert await unfit.why_ended("inv_") is None
        assert await unfit.why_ended("nv_1") is None
