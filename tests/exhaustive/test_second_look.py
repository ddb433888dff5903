"""`tests/support/second_look.py`: which failed tests CI runs again, and what it says of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.hosting.stack import ROOT

UNLUCKY = """
import pathlib
def test_unlucky():
    seen = pathlib.Path(__file__).with_suffix(".seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
MARKED = UNLUCKY.replace("def", "import pytest\n@pytest.mark.invariant\ndef", 1)
BROKEN = "def test_broken(): assert False\n"
LEAK = "async def never(): pass\ndef test_leaks(): never()\n"
FOUR = "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_broken(n): assert False\n"


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("def test_fine(): pass\n", 0, "1 passed"),
        (UNLUCKY, 0, "UNSTABLE: failed once, passed when repeated:\n  test_it.py::test_unlucky\n"),
        (BROKEN, 1, "failed again:\n  test_it.py::test_broken\n"),
        (UNLUCKY + BROKEN, 1, "failed again:\n"),
        (FOUR, 1, "not repeated: more than 3 tests failed:\n"),
        (MARKED, 1, "not repeated: an invariant is broken, or something leaks:\n  test_it.py::test_unlucky\n"),
        (LEAK, 1, "not repeated: an invariant is broken, or something leaks:\n  test_it.py::test_leaks\n"),
        ("import nothing_of_this_name\n", 2, "ModuleNotFoundError"),
    ],
    ids=["fine", "unlucky", "broken", "one of two", "many", "invariant", "leak", "uncollected"],
)
def test_what_is_repeated(source: str, code: int, said: str, tmp_path: Path) -> None:
    """One to three failed tests get a second look alone; invariants, more failures and broken files do not."""
    (tmp_path / "test_it.py").write_text(source)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers = invariant\nfilterwarnings = error\naddopts = -p no:asyncio -p no:anyio\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.second_look", "--rootdir", str(tmp_path), "-c", "pytest.ini"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, said in ended.stdout) == (code, True), ended.stdout + ended.stderr
