"""The agents that the benchmarks run: `python -m tests.bench.background_app PORT`."""

import asyncio
import logging
import sys
from typing import Any

import restate

from app.background import agent, condition, services
from app.background.run.current import current_run
from app.hosting.place import Place
from app.hosting.serving import serve_until_stopped


async def nothing(n: int) -> int:
    return n


@agent.defn()
class Tally:
    """Adds up, for ever."""

    def __init__(self) -> None:
        self.sum = 0

    @agent.event
    async def add(self, n: int) -> int:
        self.sum += n
        return self.sum

    @agent.state
    def total(self) -> int:
        return self.sum

    @agent.state
    def entries(self) -> int:
        return current_run().entries

    @agent.run
    async def run(self) -> None:
        await condition(lambda: self.sum < 0)


@agent.defn()
class Walker:
    """Takes steps, so many at a time."""

    @agent.run
    async def run(self, walk: dict[str, Any]) -> None:
        for begin in range(0, walk["count"], walk["width"]):
            await asyncio.gather(*(agent.step(nothing, n) for n in range(begin, begin + walk["width"])))


if __name__ == "__main__":
    logging.basicConfig(level="WARNING")
    app = restate.app(services(agents=[Tally, Walker], functions=[nothing]))
    asyncio.run(serve_until_stopped(app, Place("127.0.0.1", int(sys.argv[1]), "PORT")))
