"""The tool `reserve_hotel`, and its compensation: a rollback cancels the room."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.durable import get_logger
from app.tools.context import ToolContext
from app.tools.registry import tool

logger = get_logger("trip")

PRICE = 80  # a night, in euros


class Room(BaseModel):
    """A reserved room. The number is made of the call's id, so that a repeated attempt reserves the same one."""

    reservation: str
    city: str
    price: int


async def cancel_room(room: Room, city: str, nights: int) -> None:
    """Undo `reserve_hotel`."""
    logger.info("Reservation %s of a room in %s for %d nights is cancelled", room.reservation, city, nights)


@tool(compensate=cancel_room)
async def reserve_hotel(
    city: Annotated[str, Field(max_length=60)], nights: Annotated[int, Field(ge=1, le=30)], call: ToolContext
) -> Room:
    """Reserve a room in a city."""

    async def ask_the_hotel() -> Room:
        return Room(reservation=f"H-{call.call_id[-6:]}", city=city, price=PRICE * nights)

    return await call.step("reserve hotel", ask_the_hotel, result_type=Room, salvage=True)
