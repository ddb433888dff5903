"""Random programs: asyncio with virtual time, the durable loop, replays of its journal cut anywhere, other processes.

`make test` runs a few hundred; DURABLE_PROGRAMS=10000 runs more.
"""

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.hosting.stack import ROOT
from tests.support.differential import differences, digest

pytestmark = pytest.mark.invariant

PROGRAMS = int(os.environ.get("DURABLE_PROGRAMS", "400"))
BLOCK = 100


@pytest.fixture(scope="module", autouse=True)
def loop_of_the_thread() -> Iterator[None]:
    """A loop for what is left of a program and asks for one: asyncio would make it, and not close it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize("first", range(0, PROGRAMS, BLOCK))
def test_programs_do_as_on_asyncio_and_in_every_replay(first: int) -> None:
    """A random program does on the durable loop what it does on asyncio, and again in replays of its journal."""
    found = [each for seed in range(first, min(first + BLOCK, PROGRAMS)) for each in differences(seed)]
    if PROGRAMS > 1000:
        gc.freeze()  # what programs leave in the middle is kept, and programs collect often
    assert found == []


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
@pytest.mark.parametrize("gc_threshold", ["0", "7"], ids=["gc-off", "gc-often"])
def test_programs_do_the_same_in_another_process(hash_seed: str, gc_threshold: str) -> None:
    """What a program does depends on no hash seed, no garbage collector, and nothing its process did before."""
    count = min(PROGRAMS, 2000) // 4
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.differential", "0", str(count), gc_threshold],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert printed.stderr == ""
    assert printed.stdout.splitlines() == [digest(seed) for seed in range(count)]
