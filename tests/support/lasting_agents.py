"""Agents that outlive the code which began them: `python -P tests/support/lasting_agents.py HOST:PORT`.

Runs of these classes are part of `tests/data/written_before.tar.xz`, and a run goes on with the class that began it
only: do not change one without making the archive again. Imports of the application what is public and stays.
"""

import asyncio
import os
import sys
from pathlib import Path

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

from app.background import agent, condition, function, services


@function.defn()
async def write_down(text: str) -> str:
    """Write a line to ACTIONS_LOG; two of the same would be a step that was executed again."""
    did(text)
    return text


@function.defn()
async def ponder(text: str) -> str:
    """Take as long as PONDER_S says, with a line before and after."""
    did(f"{text}, perhaps")
    await asyncio.sleep(float(os.environ["PONDER_S"]))
    did(text)
    return text


def did(what: str) -> None:
    with Path(os.environ["ACTIONS_LOG"]).open("a") as file:
        file.write(f"{what}\n")


@agent.defn()
class Notebook:
    """Writes down what its events bring, until it is closed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.closed = False

    @agent.event
    async def add(self, line: str) -> int:
        self.lines.append(await agent.step(write_down, f"{agent.agent_info().agent_id}: {line}"))
        return len(self.lines)

    @agent.event
    async def ponder(self, line: str) -> int:
        text = f"{agent.agent_info().agent_id}: {line}"
        self.lines.append(await agent.step(ponder, text, start_to_close_timeout=None))
        return len(self.lines)

    @agent.event
    async def close(self) -> None:
        self.closed = True

    @agent.state
    def written(self) -> list[str]:
        return self.lines

    @agent.run
    async def run(self, title: str) -> list[str]:
        self.lines.append(await agent.step(write_down, f"{agent.agent_info().agent_id}: {title}"))
        await condition(lambda: self.closed)
        return self.lines


@agent.defn()
class Sleeper:
    """Sleeps between two lines, and writes another one if it is cancelled."""

    @agent.run
    async def run(self, seconds: float) -> list[str]:
        me = agent.agent_info().agent_id
        lines = [await agent.step(write_down, f"{me}: sleeps")]
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await agent.step(write_down, f"{me}: cancelled")
            raise
        return [*lines, await agent.step(write_down, f"{me}: wakes")]


@agent.defn()
class Parent:
    """Has a child keep a notebook, and returns what it wrote."""

    @agent.run
    async def run(self, child_id: str) -> dict[str, list[str]]:
        lines: list[str] = await agent.child_execute(agent=Notebook, agent_id=child_id, agent_input="begun by a parent")
        return {"lines of the child": lines}


@agent.defn()
class Walker:
    """Starts afresh with each step of its way."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.arrived = False

    @agent.event
    async def go(self, where: str) -> None:
        self.steps.append(where)

    @agent.event
    async def arrive(self) -> None:
        self.arrived = True

    @agent.run
    async def run(self, way: list[str]) -> list[str]:
        await condition(lambda: self.steps or self.arrived)
        if not self.arrived:
            await condition(agent.all_events_finished)
            agent.agent_continue_as_new(way + self.steps)
        return way


@agent.defn()
class Alarm:
    """What a schedule starts; without a text it fails."""

    @agent.run
    async def run(self, text: str) -> str:
        if not text:
            raise ValueError("nothing to ring with")
        return await agent.step(write_down, f"{agent.agent_info().agent_id}: {text}")


def main(place: str) -> None:
    """Serve the agents at HOST:PORT until the process is killed."""
    config = Config()
    config.bind = [place]
    built = services(agents=[Notebook, Sleeper, Parent, Walker, Alarm], functions=[write_down, ponder])
    asyncio.run(serve(restate.app(built), config))


if __name__ == "__main__":
    main(sys.argv[1])
