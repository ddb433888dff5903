"""TaskProcessor: waits for its configuration, then works off tasks until it is told to shut down.

The complete example of the reference. It may run for months.
"""

from datetime import timedelta
from typing import Any

from app.background import agent, condition, function, log


@function.defn()
async def process_item(item: dict[str, Any]) -> str:
    """Do the work of one task. Put yours here."""
    return f"processed {item['task']['id']}"


@agent.defn()
class TaskProcessor:
    """Processes the tasks it is sent, one after the other."""

    def __init__(self) -> None:
        self.config: dict[str, Any] | None = None
        self.tasks: list[dict[str, Any]] = []
        self.completed = 0
        self.end = False

    @agent.event
    async def configure(self, config: dict[str, Any]) -> None:
        """Initialize agent configuration."""
        self.config = config
        log.info("Agent configured")

    @agent.event
    async def add_task(self, task: dict[str, Any]) -> int:
        """Add a task to the queue and return how many wait."""
        self.tasks.append(task)
        return len(self.tasks)

    @agent.event
    async def shutdown(self) -> None:
        """Signal graceful shutdown."""
        self.end = True

    @agent.state
    def progress(self) -> dict[str, int]:
        """Return how many tasks are done, and how many wait."""
        return {"completed": self.completed, "waiting": len(self.tasks)}

    @agent.run
    async def run(self, checkpoint: dict[str, Any] | None = None) -> dict[str, Any]:
        if checkpoint is not None:
            self.config, self.completed = checkpoint["config"], checkpoint["completed"]
            self.tasks = checkpoint["tasks"] + self.tasks
        await condition(lambda: self.config is not None)
        while not self.end:
            await condition(lambda: self.tasks or self.end or agent.should_continue_as_new())
            if agent.should_continue_as_new():
                agent.agent_continue_as_new(
                    input={"config": self.config, "completed": self.completed, "tasks": self.tasks}
                )
            if self.tasks:
                await self._process(self.tasks.pop(0))
        return {"status": "shutdown", "completed": self.completed}

    async def _process(self, task: dict[str, Any]) -> None:
        try:
            await agent.step(
                function=process_item, function_input={"task": task}, start_to_close_timeout=timedelta(seconds=60)
            )
        except Exception as exc:  # noqa: BLE001 - one bad task must not end the agent
            log.error(f"Task failed: {exc}")
        else:
            self.completed += 1
            log.info(f"Task complete: {task['id']}")
