"""The code blocks of the reference, served: `python -m tests.integration.background.reference PORT`.

Only import lines are changed. What the blocks import from `src` is written to the folder SOURCES; a class gets a name
of its own, as many blocks call theirs MyAgent; a block that is no class becomes the body of an agent's `run`.
"""

import asyncio
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import app.background
from app.background.declare.definition import define
from app.hosting.stack import ROOT

REFERENCE = ROOT.parent / "shared" / "seeds" / "restack-python-agent-reference.md"
SOURCES = {
    "functions/email.py": "async def send_email(mail: dict) -> str:\n    return 'sent to ' + mail['to']\n",
    "functions/search.py": "async def search_papers(query: dict) -> list:\n    return []\n",
    "functions/storage.py": "async def save_data(data: dict) -> None:\n    return None\n",
    "functions/process.py": "async def process_item(item: dict) -> str:\n    return 'done ' + item['task']['id']\n",
    "agents/child_agent.py": (
        "from app.background import agent\n\n@agent.defn()\nclass ChildAgent:\n    @agent.run\n"
        "    async def run(self, task: dict):\n        return task\n"
    ),
    "workflows/analysis.py": (
        "from app.background import workflow\n\n@workflow.defn()\nclass analyze_data:\n    @workflow.run\n"
        "    async def run(self, given: dict):\n        return {'rows': len(given['dataset'])}\n"
    ),
}
FRAGMENT = """
@agent.defn()
class Fragment:
    def __init__(self):
        self.config, self.tasks, self.end, self.state = {{}}, [1], True, "ready"

    @agent.run
    async def run(self):
{body}
        return "went through"
"""


def blocks() -> list[str]:
    """Return the Python blocks of the reference, in order, with their import lines changed."""
    text = re.findall(r"```python\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    changed = [
        re.sub(r"^from restack_ai\.agent import", "from app.background import", block, flags=re.M) for block in text
    ]
    return [re.sub(r"^from restack_ai import", "from app.background import", block, flags=re.M) for block in changed]


def is_class(block: str) -> bool:
    return "@agent.defn" in block


def is_client(block: str) -> bool:
    return "Restack()" in block


def write_sources(folder: Path) -> None:
    for name, text in SOURCES.items():
        path = folder / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def execute(block: str, name: str | None) -> dict[str, Any]:
    """Execute a block; what it uses without importing it is there. Its agent becomes `name`, unless that is None."""
    surface = {exported: getattr(app.background, exported) for exported in app.background.__all__}
    namespace: dict[str, Any] = {
        **surface,
        "__name__": name or "reference",
        "timedelta": __import__("datetime").timedelta,
    }
    exec(compile(block, f"<{name}>", "exec"), namespace)  # noqa: S102 - the reference is ours
    classes = [
        value for value in namespace.values() if isinstance(value, type) and value.__module__ == namespace["__name__"]
    ]
    namespace["defined"] = [define(cls, kind="agent", name=name or cls.__name__, description=None) for cls in classes]
    return namespace


def agents() -> list[type]:
    """Return the agents of all blocks, named Block0, Block1, …; TaskProcessor keeps its name."""
    found = []
    for n, block in enumerate(blocks()):
        if is_client(block):
            continue
        if is_class(block):
            found += execute(block, None if "class TaskProcessor" in block else f"Block{n}")["defined"]
        else:
            found += execute(FRAGMENT.format(body=textwrap.indent(block, " " * 8)), f"Block{n}")["defined"]
    return found


async def main(port: int) -> None:
    import restate

    sys.path.insert(0, os.environ["SOURCES"])
    from src.agents.child_agent import ChildAgent  # type: ignore[import-not-found]  # written by write_sources
    from src.functions.email import send_email  # type: ignore[import-not-found]
    from src.functions.process import process_item  # type: ignore[import-not-found]
    from src.workflows.analysis import analyze_data  # type: ignore[import-not-found]

    from app.hosting.place import Place
    from app.hosting.serving import serve_until_stopped

    served = app.background.services(
        agents=[*agents(), ChildAgent], workflows=[analyze_data], functions=[send_email, process_item]
    )
    await serve_until_stopped(restate.app(served), Place("127.0.0.1", port, "PORT"))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
