"""The worked example: a trip is searched, reserved, paid and remembered. Offered with EXAMPLE=trip; nothing is real."""

from app.tools.agents import ask_agent, send_agent_event, stop_agent
from app.tools.pay import pay
from app.tools.trip.remind import remind
from app.tools.trip.reserve_flight import reserve_flight
from app.tools.trip.reserve_hotel import reserve_hotel
from app.tools.trip.search_flights import search_flights

TRIP_TOOLS = (search_flights, reserve_flight, reserve_hotel, pay, remind, send_agent_event, ask_agent, stop_agent)

__all__ = ["TRIP_TOOLS", "remind", "reserve_flight", "reserve_hotel", "search_flights"]
