"""Pytest for CI: up to three failed tests are run again, alone; if they pass then, they are named as unstable.

A test marked `invariant` is never repeated, nor is one where garbage shows a leak: that is a finding, whatever happens
the second time.
As a command it takes the arguments of pytest.
"""

import subprocess
import sys
from collections.abc import Sequence

import pytest

MOST_REPEATED = 3


class Failures:
    """A plugin that writes down which tests failed, in any phase."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.invariants: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.names:
            self.names.append(report.nodeid)
            # What was left to the garbage collector may be of another test: alone, this one would pass.
            if "invariant" in report.keywords or "UnraisableException" in report.longreprtext:
                self.invariants.append(report.nodeid)


def run(arguments: Sequence[str]) -> int:
    """Run pytest, and again what may be repeated; return the exit code of CI."""
    failures = Failures()
    code = int(pytest.main(list(arguments), plugins=[failures]))
    if code != pytest.ExitCode.TESTS_FAILED or not failures.names:
        return code
    if failures.invariants:
        say("not repeated: an invariant is broken, or something leaks", failures.invariants)
        return code
    if len(failures.names) > MOST_REPEATED:
        say(f"not repeated: more than {MOST_REPEATED} tests failed", failures.names)
        return code
    say("repeated alone", failures.names)
    again = subprocess.run([sys.executable, "-m", "pytest", *failures.names], check=False).returncode
    say("UNSTABLE: failed once, passed when repeated" if again == 0 else "failed again", failures.names)
    return again


def say(what: str, names: Sequence[str]) -> None:
    print("\n".join(["", "=" * 80, f"{what}:", *(f"  {name}" for name in names), "=" * 80]), flush=True)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
