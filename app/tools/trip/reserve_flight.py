"""The tool `reserve_flight`, and its compensation: a rollback gives the seat back."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.durable import get_logger
from app.tools.context import ToolContext
from app.tools.registry import tool

logger = get_logger("trip")


class Seat(BaseModel):
    """A reserved seat. The number is made of the call's id, so that a repeated attempt reserves the same one."""

    reservation: str
    flight: str


async def give_seat_back(seat: Seat, flight: str) -> None:
    """Undo `reserve_flight`. An airline that does not know the reservation any more has nothing to say."""
    logger.info("Reservation %s of a seat in %s is given back", seat.reservation, flight)


@tool(compensate=give_seat_back)
async def reserve_flight(
    flight: Annotated[str, Field(description="The number of the flight", max_length=60)], call: ToolContext
) -> Seat:
    """Reserve a seat in a flight."""

    async def ask_the_airline() -> Seat:
        return Seat(reservation=f"F-{call.call_id[-6:]}", flight=flight)

    return await call.step("reserve flight", ask_the_airline, result_type=Seat, salvage=True)
