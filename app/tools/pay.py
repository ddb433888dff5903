"""The example of a tool that asks a person first: `pay`. It pays nobody, and is not among the tools of the agent.

To try it, name it in `app/tools/__init__.py`; docs/tools.md shows how.
"""

from typing import Annotated

from pydantic import Field

from app.durable import step
from app.tools.registry import tool

FREE = 10  # up to this nobody is asked


@tool(needs_approval=lambda amount, **_: amount > FREE)
async def pay(amount: Annotated[int, Field(description="How much", gt=0)], to: str) -> str:
    """Pay somebody. The user is asked before more than 10 are paid."""

    async def transfer() -> str:
        return f"{amount} paid to {to}"

    return await step("pay", transfer, result_type=str, salvage=True)
