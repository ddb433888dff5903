"""The public surface is typed: mypy's strict mode passes what works and names what does not, in code of users."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from mypy import api

from app.background import function
from app.hosting.stack import ROOT

HEAD = """
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from app.background import AgentEvent, Restack, RetryPolicy, agent, condition, function, workflow
from app.background.agent import agent as named


class Mail(BaseModel):
    to: str


@function.defn()
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@function.defn(name="post")
def send(mail: Mail) -> int:
    return len(mail.to)


@function.defn
async def now() -> float:
    return 0.0


"""
AGENT = """
@agent.defn()
class Greeter:
    @agent.event
    async def meet(self, name: str) -> int:
        return len(name)

    @agent.event(name="leave")
    async def go(self) -> None: ...

    @agent.state
    def known(self) -> list[str]:
        return []

    @agent.run
    async def run(self) -> str:
        return await agent.step(greet, "Ada")


"""
GOOD = {
    "step": 'async def f() -> str:\n    return await agent.step(greet, "Ada")',
    "step by name": 'async def f() -> str:\n    return await agent.step(function=greet, function_input="Ada")',
    "step without input": "async def f() -> float:\n    return await agent.step(now)",
    "step of a plain function": 'async def f() -> int:\n    return await agent.step(send, Mail(to="you"))',
    "step with a model as a dict": 'async def f() -> int:\n    return await agent.step(send, {"to": "you"})',
    "step with all options": (
        'async def f() -> str:\n    return await agent.step(greet, "Ada", task_queue="q",\n'
        "        start_to_close_timeout=None,\n"
        "        schedule_to_close_timeout=timedelta(1), schedule_to_start_timeout=timedelta(1),\n"
        "        heartbeat_timeout=timedelta(1), retry_policy=RetryPolicy(timedelta(seconds=1), 2.0))"
    ),
    "step of a workflow": 'async def f() -> str:\n    return await workflow.step(greet, "Ada")',
    "namespace of the published library": 'async def f() -> str:\n    return await named.step(greet, "Ada")',
    "agent": AGENT + "async def f(g: Greeter) -> int:\n    return await g.meet('Ada') + len(g.known())",
    "workflow": (
        "@workflow.defn()\nclass W:\n    @workflow.run\n    async def run(self, given: str) -> str:\n"
        "        return given\n\nasync def f(w: W) -> str:\n    return await w.run('x')"
    ),
    "client": (
        "async def f() -> str:\n    async with Restack() as client:\n"
        '        return await client.schedule_agent("Greeter", "g", event=AgentEvent("meet", "Ada"))'
    ),
}
BAD = {
    "input of another type": (
        "async def f() -> None:\n    await agent.step(greet, 42)",
        "arg-type",
        'to "step" has incompatible type "Callable[[str], Coroutine[Any, Any, str]]"; expected "Callable[[int]',
    ),
    "result of another type": (
        'async def f() -> int:\n    return await agent.step(greet, "Ada")',
        "arg-type",
        'expected "Callable[[str], Awaitable[int]]"',
    ),
    "missing input": ("async def f() -> None:\n    await agent.step(greet)", "arg-type", 'expected "Callable[[], '),
    "superfluous input": ("async def f() -> None:\n    await agent.step(now, 1)", "arg-type", "Callable[[int], "),
    "wrong model": ("async def f() -> None:\n    await agent.step(send, 'you')", "arg-type", "Callable[[Mail], int]"),
    "unknown option": ("async def f() -> None:\n    await agent.step(now, queue='q')", "call-overload", "step"),
    "option of another type": (
        "async def f() -> None:\n    await agent.step(now, start_to_close_timeout=5)",
        "call-overload",
        "step",
    ),
    "event with another input": (
        AGENT + "async def f(g: Greeter) -> None:\n    await g.meet(1)",
        "arg-type",
        'incompatible type "int"; expected "str"',
    ),
    "state of another type": (
        AGENT + "def f(g: Greeter) -> int:\n    return g.known()",
        "return-value",
        'expected "int"',
    ),
    "event that is no coroutine": (
        "@agent.defn()\nclass A:\n    @agent.event\n    def e(self) -> None: ...",
        "type-var",
        "cannot be",
    ),
    "run that is no coroutine": (
        "@agent.defn()\nclass A:\n    @agent.run\n    def r(self) -> None: ...",
        "type-var",
        "cannot be",
    ),
    "function that keeps its type": ("async def f() -> str:\n    return await greet(1)", "arg-type", 'expected "str"'),
    "unknown word of a retry policy": ("RetryPolicy(max_tries=3)", "call-arg", "max_tries"),
    "condition without a predicate": ("async def f() -> None:\n    await condition(True)", "arg-type", "Callable"),
}
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def documented() -> dict[str, str]:
    """Return the Python blocks of README and docs that are about background agents; a bare `async with` gets a main."""
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    blocks = [block for text in texts for block in PYTHON_BLOCK.findall(text) if "app.background" in block]
    return {f"documented {n}": in_main(block) for n, block in enumerate(blocks)}


def in_main(block: str) -> str:
    if not re.search(r"^(async with|await|\w+ = await) ", block, re.MULTILINE):
        return block
    lines = block.splitlines()
    imports = [line for line in lines if line.startswith(("import ", "from "))]
    body = "\n".join(line for line in lines if line not in imports)
    return "\n".join([*imports, "", "async def main() -> None:", textwrap.indent(body, "    ")])


def file_name(case: str) -> str:
    return case.replace(" ", "_") + ".py"


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What mypy's strict mode says of each snippet, by file; one run for all."""
    folder = tmp_path_factory.mktemp("snippets")
    sources = {name: HEAD + source for name, source in {**GOOD, **{n: bad[0] for n, bad in BAD.items()}}.items()}
    for name, source in {**sources, **documented()}.items():
        (folder / file_name(name)).write_text(source + "\n")
    cache = ROOT / ".mypy_cache" / "snippets"
    plugin = folder / "mypy.ini"
    plugin.write_text(f"[mypy]\nstrict = true\nmypy_path = {ROOT}\n")
    output, problems, _ = api.run([str(folder), "--config-file", str(plugin), "--cache-dir", str(cache)])
    assert problems == ""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        if ": error: " in line:
            path, _, message = line.split(":", 2)
            found.setdefault(Path(path).name, []).append(message)
    return found


@pytest.mark.parametrize("case", [*GOOD, *documented()])
def test_good_code_passes(case: str, errors: dict[str, list[str]]) -> None:
    """What works passes the strict mode, without the plugin of pydantic."""
    assert errors.get(file_name(case), []) == []


@pytest.mark.parametrize("case", BAD)
def test_bad_code_is_named(case: str, errors: dict[str, list[str]]) -> None:
    """What does not work is an error of the kind that says so."""
    _, code, text = BAD[case]
    messages = errors.get(file_name(case), [])
    assert [message for message in messages if text in message and message.endswith(f"[{code}]")], messages


def test_surface_says_that_it_is_typed() -> None:
    """`py.typed` lets the type checkers of others read our types."""
    assert (ROOT / "app" / "py.typed").exists()


def test_each_spelling_of_the_namespaces_is_the_same() -> None:
    """`from app.background.agent import agent` is the module itself, and so for the others."""
    namespace: dict[str, Any] = {}
    exec(HEAD, namespace)  # noqa: S102 - our own
    assert namespace["named"] is namespace["agent"]
    assert function.function is function
