"""The log of agents."""

import logging

import pytest

from app.background import log


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_levels_take_data(caplog: pytest.LogCaptureFixture, level: str) -> None:
    """Each of the five levels takes positional data and keyword fields, as reference and library spell it."""
    caplog.set_level(logging.DEBUG, logger="agent")

    getattr(log, level)("Agent started", {"a": 1}, run=3)

    assert caplog.record_tuples == [("agent", getattr(logging, level.upper()), "Agent started {'a': 1} run=3")]


def test_percent_signs_are_text(caplog: pytest.LogCaptureFixture) -> None:
    """A message is not a format: a percent sign in it stays one."""
    log.error("100 % done")

    assert caplog.messages == ["100 % done"]
