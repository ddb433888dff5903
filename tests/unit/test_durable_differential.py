"""A few random programs: asyncio with virtual time, the durable loop, replays of its journal cut anywhere.

Hundreds of them, also in other processes, are in tests/exhaustive.
"""

import pytest

from tests.support.differential import differences

pytestmark = pytest.mark.invariant


def test_programs_do_as_on_asyncio_and_in_every_replay() -> None:
    """A random program does on the durable loop what it does on asyncio, and again in replays of its journal."""
    assert [each for seed in range(30) for each in differences(seed)] == []
