"""This application, or another checkout of it, as a contender."""

import os
import sys
from pathlib import Path

from tests.bench.contender import Launcher, Surroundings
from tests.support.process import Process, bare_environment
from tests.support.service import MAIN

# Settings of whoever runs the bench that are about how to serve; they are for our service alone.
PASSED_ON = ("SERVER", "WORKERS")


def service(main: Path = MAIN) -> Launcher:
    """Return how to start `app/main.py` as it comes: only its surroundings are set, and room for one long message."""

    def launch(place: Surroundings) -> Process:
        env = {
            "PORT": str(place.port),
            "OPENAI_BASE_URL": place.llm_url,
            "OPENAI_API_KEY": "x",
            "RESTATE_ADMIN_URL": place.admin_url,
            "MAX_MESSAGE_CHARS": "100000",  # a context of one turn is a long message
            "CONTEXT_SUMMARY_SHARE": "0",  # a full context is what is measured
            "PYTHONUNBUFFERED": "1",
        }
        return Process(
            [sys.executable, str(main.resolve())],
            env=bare_environment(**env, **passed_on()),
            cwd=place.folder,
            log=place.folder / "service.log",
        )

    return launch


def passed_on() -> dict[str, str]:
    """Return what of the bench's environment our service gets."""
    return {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
