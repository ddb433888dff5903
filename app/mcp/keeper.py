"""Runs an MCP server for as long as the process that asked for it lives: `python keeper.py <pid> <command> …`.

A program of its own. After kill -9 of the service nobody else ends its servers: many go on when their stdin ends, and
`npx` and `uvx` start further processes. It imports nothing of the house.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

GRACE_S = 0.8  # from SIGTERM to SIGKILL
POLL_S = 0.02
LOOK_S = 1.0  # where no kernel tells of the parent's end
_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> int:
    """Run `command` on our stdin, stdout and stderr until it ends, `parent` ends, or SIGTERM comes. Return its code."""
    signal.signal(signal.SIGTERM, _stop)
    _signal_at_end_of_parent(signal.SIGTERM)
    if os.getppid() != parent:
        return 1
    try:
        server = subprocess.Popen(command, start_new_session=True, preexec_fn=_at_our_end())  # noqa: S603 - the operator's own command
    except OSError as exc:
        print(f"cannot be started: {exc.strerror}", file=sys.stderr)
        return 127
    try:
        _let_go_of_pipes()
        return _wait(server, parent)
    except _Stopped:
        return 0
    finally:
        _end(server)


class _Stopped(Exception):
    """SIGTERM came."""


def _stop(_signum: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


def _wait(server: "subprocess.Popen[bytes]", parent: int) -> int:
    if sys.platform == "linux":
        return server.wait()
    while server.poll() is None and os.getppid() == parent:
        time.sleep(LOOK_S)
    return server.returncode or 0


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End all that the server has started in its session, also when itself is gone."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deadline = time.monotonic() + GRACE_S
    signum = signal.SIGTERM
    try:
        os.killpg(server.pid, signum)
        while time.monotonic() < deadline:
            server.poll()  # a zombie is a member of its group
            os.killpg(server.pid, 0)
            time.sleep(POLL_S)
        os.killpg(server.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all are gone
    server.wait()


def _let_go_of_pipes() -> None:
    """Leave stdin and stdout to the server alone: their ends are its ends."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)


def _signal_at_end_of_parent(signum: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)


def _at_our_end() -> Callable[[], object] | None:
    """Return what has the kernel kill the server if even this program is killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
