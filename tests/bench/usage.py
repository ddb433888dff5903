"""What processes have used, as Linux counts it in /proc. Changes nothing.

A service may be several processes (workers), so each number is of a process and all its descendants.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads, in user and kernel."""
    return sum(_cpu_ticks(each) for each in _tree(pid)) / os.sysconf("SC_CLK_TCK")


def written_bytes(pid: int) -> int:
    """Return the bytes that were written towards the disk."""
    return sum(_written(each) for each in _tree(pid))


def memory_mib(pid: int) -> float:
    """Return the resident memory."""
    pages = sum(int((_PROC / str(each) / "statm").read_text().split()[1]) for each in _tree(pid))
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in (_PROC / str(pid) / "task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _cpu_ticks(pid: int) -> int:
    # The name of the process stands in parentheses and may have spaces; utime and stime are the 12th and 13th after it.
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _written(pid: int) -> int:
    lines = (_PROC / str(pid) / "io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
