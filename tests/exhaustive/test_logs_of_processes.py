"""What processes write to stderr when something goes wrong in them."""

import subprocess
import sys

import pytest

from app.hosting.stack import ROOT

EVIL = r"a\x1b[2J\nINFO:chat:forged\u202e"
SET_UP = """
import sys, threading, warnings, logging, asyncio, gc
from app.hosting.logs import set_up_logging
set_up_logging('INFO')
"""


@pytest.mark.parametrize(
    "code",
    [
        f"raise ValueError('{EVIL}')",
        f"raise SystemError(ValueError('{EVIL}'))",
        f"warnings.warn('{EVIL}')",
        f"threading.Thread(target=lambda: int('{EVIL}'), name='{EVIL}').start()",
        f"logging.getLogger('{EVIL}').error('%d', '{EVIL}')",
        f"logging.getLogger('hypercorn.error').error('%s', '{EVIL}')",
        f"logging.getLogger('restate.server').info('x', stack_info=True, extra={{'a': '{EVIL}'}}); int('{EVIL}')",
        f"asyncio.new_event_loop().call_exception_handler({{'message': '{EVIL}', 'future': '{EVIL}'}})",
        "Odd = type('Odd', (), {'__del__': lambda _: int(chr(27))}); odd = Odd(); del odd",
    ],
)
def test_nothing_of_a_process_reaches_the_terminal_raw(code: str) -> None:
    """Uncaught exceptions, warnings, threads and libraries: what they write to stderr drives no terminal."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{SET_UP}\n{code}"], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert ended.stderr
    assert all(written.isprintable() for written in ended.stderr.replace("\t", "").splitlines())
    assert "\nINFO:chat:forged" not in ended.stderr
