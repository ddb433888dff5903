"""The original example as a contender: a copy of it, with the three edits that a fair measurement needs.

A synchronous client would block the whole process for as long as one LLM call takes, and the port is fixed.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from app.errors import UsageError
from tests.bench.contender import Launcher, Surroundings
from tests.support.process import Process, bare_environment

SOURCE = "restatedev/ai-examples at commit 8457cea"
FOLDER = Path("advanced/interruptible-agent")


@dataclass(frozen=True)
class Edit:
    """One line of a file, and what stands there instead."""

    file: str
    line: str
    instead: str


EDITS = (
    Edit("app/agent.py", "from openai import OpenAI", "from openai import AsyncOpenAI as OpenAI"),
    Edit("app/agent.py", "    return client.responses.create(", "    return await client.responses.create("),
    Edit(
        "app/__main__.py",
        '    conf.bind = ["0.0.0.0:9080"]',
        "    import os\n\n    conf.bind = [f\"127.0.0.1:{os.environ['PORT']}\"]",
    ),
)


def example_in(checkout: Path) -> Path:
    """Return the folder of the example; `checkout` is the repository or that folder.

    Errors: UsageError.
    """
    for folder in (checkout / FOLDER, checkout):
        if (folder / "app" / "agent.py").is_file():
            return folder
    raise UsageError(f"REFERENCE={str(checkout)!r} has no {FOLDER}: make it a checkout of {SOURCE}")


def edited(text: str, edit: Edit) -> str:
    """Return the text of a file with one edit made.

    Errors: UsageError when the line is not there exactly once.
    """
    lines = text.splitlines()
    if lines.count(edit.line) != 1:
        raise UsageError(
            f"{edit.file} of the reference has {lines.count(edit.line)} lines {edit.line.strip()!r}, and one was "
            f"expected: make REFERENCE a checkout of {SOURCE}"
        )
    lines[lines.index(edit.line)] = edit.instead
    return "\n".join(lines) + "\n"


def copy_edited(example: Path, to: Path) -> None:
    """Copy the example and make the edits in the copy.

    Errors: UsageError.
    """
    shutil.copytree(example / "app", to / "app")
    for edit in EDITS:
        file = to / edit.file
        file.write_text(edited(file.read_text(), edit))


def service(checkout: Path) -> Launcher:
    """Return how to start the example with this environment's packages, as it comes.

    Errors: UsageError, when it is started too.
    """
    example = example_in(checkout)

    def launch(place: Surroundings) -> Process:
        copy = place.folder / "example"
        copy_edited(example, copy)
        env = {
            "PORT": str(place.port),
            "OPENAI_BASE_URL": place.llm_url,
            "OPENAI_API_KEY": "x",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return Process(
            [sys.executable, "app/__main__.py"],
            env=bare_environment(**env),
            cwd=copy,
            log=place.folder / "service.log",
        )

    return launch
