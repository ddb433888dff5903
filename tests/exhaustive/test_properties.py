"""The properties and state machines of the unit tests, for ten times as many inputs as there."""

import subprocess
import sys

import pytest

from app.hosting.stack import ROOT

pytestmark = pytest.mark.invariant

FILES = [
    path
    for path in sorted((ROOT / "tests" / "unit").rglob("test_*.py"))
    if "from hypothesis import" in path.read_text()
]


def test_they_hold_for_many_inputs() -> None:
    """What holds for a few generated inputs, the same each time, holds for hundreds of others."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=many"]
    ended = subprocess.run(
        [*command, *map(str, FILES)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
