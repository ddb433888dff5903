"""Every supported Python that is installed here gives a class the same fingerprint."""

import json
import subprocess
from pathlib import Path

import pytest

from app.hosting.stack import ROOT
from tests.unit.background.test_fingerprint import FORMER, KNOWN

# Without the packages of the application, which another Python need not have.
SCRIPT = """
import importlib.util, json, sys

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

fp = load("fp", "app/background/declare/fingerprint.py")
classes = load("fingerprinted", "tests/support/fingerprinted.py").CLASSES
former = json.loads(sys.argv[1])
print(json.dumps([
    {name: fp.fingerprint(cls) for name, cls in classes.items()},
    [value for name, values in former.items() for value in values if not fp.is_of(classes[name], value)],
]))
"""


def pythons() -> list[Path]:
    """Return other interpreters of the supported versions that are installed here."""
    installed = (Path.home() / ".pyenv" / "versions").glob("3.1[1-9]*/bin/python")
    return [python for python in sorted(installed) if python.is_file()]


@pytest.mark.parametrize("python", pythons(), ids=lambda python: python.parts[-3])
def test_every_python_gives_the_same(python: Path) -> None:
    """An agent may move to another Python, also one that an earlier version has begun."""
    command = [str(python), "-c", SCRIPT, json.dumps(FORMER)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [KNOWN, []]
