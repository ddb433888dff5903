"""The tool `execute_task`: a task that takes a while, done durably.

It stands for real work and does none. How long it takes is a setting.
"""

import asyncio
from typing import Annotated

from pydantic import Field

from app.durable import step
from app.settings import get_settings
from app.tools.registry import tool


@tool
async def execute_task(task: Annotated[str, Field(description="What to do, in a sentence")]) -> str:
    """Carry out a task that takes a while, and report what became of it."""

    async def work() -> str:
        await asyncio.sleep(get_settings().task_duration_s)
        return f"The task is done: {task}"

    return await step("execute_task", work, result_type=str, salvage=True)  # done is done, also if cancelled meanwhile
