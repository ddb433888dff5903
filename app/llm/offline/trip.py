"""The offline model's part in the worked example: what it does with `/trip Lisbon`, where the tools for it are offered.

Pure: no I/O. Each step follows from the results of those before it.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

TOOLS = ("search_flights", "reserve_flight", "reserve_hotel", "pay", "remind")
NIGHTS = 2
REMIND_AFTER_S = 10
AGENCY = "the travel agency"
_TRIP = re.compile(r"\s*/trip\s+([^\W\d_][^\d\n{}]{0,58}?)(?:\s+(\d{1,6}))?\s*")


@dataclass(frozen=True)
class Step:
    """What the model says, and the call of a tool if there is one."""

    text: str
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


def next_step(requests: Collection[str], results: Mapping[str, str], offered: Collection[str]) -> Step | None:
    """Return the next step of the trip that a request asks for, None if none does or a tool is missing.

    `results` are those of the calls since then, by tool. `/trip Lisbon 60` has the reminder come after 60 seconds.
    """
    wanted = next((match for each in requests if (match := _TRIP.fullmatch(each))), None)
    if wanted is None or not set(TOOLS) <= set(offered):
        return None
    city, seconds = wanted[1].title(), int(wanted[2] or REMIND_AFTER_S)
    for tool in TOOLS:
        if tool not in results:
            return _call_of(tool, city, seconds, results)
        if not _is_good(tool, results[tool]):
            return Step(f"I stop here, {tool} said: {results[tool]}")
    return Step(
        f"Your trip to {city} is booked: flight {_flight(results)['flight']}, {NIGHTS} nights, {results['pay']}. "
        f"{results['remind']}."
    )


def _call_of(tool: str, city: str, seconds: int, results: Mapping[str, str]) -> Step:
    match tool:
        case "search_flights":
            return Step(f"I look for flights to {city}.", tool, {"to": city})
        case "reserve_flight":
            flight = _flight(results)
            text = f"{flight['flight']} is the cheapest, for {flight['price']} euros. I reserve a seat."
            return Step(text, tool, {"flight": flight["flight"]})
        case "reserve_hotel":
            return Step("I reserve a room.", tool, {"city": city, "nights": NIGHTS})
        case "pay":
            amount = _flight(results)["price"] + json.loads(results["reserve_hotel"])["price"]
            return Step(f"All of it costs {amount} euros.", tool, {"amount": amount, "to": AGENCY})
    text = f"check in for your flight {_flight(results)['flight']} to {city}"
    return Step("I set a reminder.", tool, {"text": text, "in_seconds": seconds})


def _flight(results: Mapping[str, str]) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(results["search_flights"])
    return found[0]


def _is_good(tool: str, result: str) -> bool:
    """Return whether a tool has done what it was asked for: the next step builds on it."""
    match tool:
        case "pay":
            return "paid to" in result
        case "remind":
            return True
    try:
        found = json.loads(result)
    except ValueError:
        return False
    return bool(found) and isinstance(found, list if tool == "search_flights" else dict)
