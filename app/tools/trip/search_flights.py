"""The tool `search_flights`: finds flights that nobody flies."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.tools.context import ToolContext
from app.tools.registry import tool


class Flight(BaseModel):
    """A flight, and what a seat costs in euros."""

    flight: str
    to: str
    price: int


@tool
async def search_flights(
    to: Annotated[str, Field(description="The city", min_length=1, max_length=60)], call: ToolContext
) -> list[Flight]:
    """Search for flights to a city, the cheapest first."""

    async def ask_the_airlines() -> list[Flight]:
        call.progress(f"asking two airlines for {to}")
        base = 100 + 10 * len(to)
        return [Flight(flight=f"IA {base}", to=to, price=base), Flight(flight=f"IA {base + 1}", to=to, price=base + 45)]

    return await call.step("search flights", ask_the_airlines, result_type=list[Flight])
