"""The agent of the crash test: `python -m tests.acceptance.background_ledger PORT`. Its steps write to ACTIONS_LOG."""

import asyncio
import os
import sys
import time
from typing import Any

import restate

from app.background import agent, condition, function, services
from app.hosting.place import Place
from app.hosting.serving import serve_until_stopped


@function.defn()
def record(n: int) -> int:
    with open(os.environ["ACTIONS_LOG"], "a") as log:
        log.write(f"{n}\n")
    time.sleep(0.03)  # so that a crash finds it at work
    return n


@agent.defn()
class Ledger:
    """Enters numbers in the order of its events, and starts afresh every forty of them."""

    def __init__(self) -> None:
        self.before: list[int] = []
        self.seen: list[int] = []
        self.entered: list[int] = []
        self.end = False

    @agent.event
    async def enter(self, n: int) -> int:
        self.seen.append(n)
        return n

    @agent.event
    async def finish(self) -> None:
        self.end = True

    @agent.state
    def entries(self) -> list[int]:
        return self.before + self.entered

    @agent.run
    async def run(self, state: dict[str, Any]) -> dict[str, Any]:
        before: list[int] = state["entered"]
        self.before = before
        self.seen, self.end = state["seen"] + self.seen, state["end"]
        while True:
            await condition(lambda: self.seen or self.end)
            if not self.seen:
                return {"entered": before + self.entered, "runs": agent.agent_info().run_number}
            self.entered.append(await agent.step(record, self.seen.pop(0)))
            if len(self.entered) >= 40:
                await condition(agent.all_events_finished)
                agent.agent_continue_as_new({"entered": before + self.entered, "seen": self.seen, "end": self.end})


if __name__ == "__main__":
    app = restate.app(services(agents=[Ledger], functions=[record]))
    asyncio.run(serve_until_stopped(app, Place("127.0.0.1", int(sys.argv[1]), "PORT")))
