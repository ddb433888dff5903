"""The offline model in the worked example: each step follows from the results of those before it."""

import json

import pytest

from app.llm.offline.trip import TOOLS, next_step

GOOD = {
    "search_flights": json.dumps([{"flight": "IA 160", "to": "Lisbon", "price": 160}]),
    "reserve_flight": json.dumps({"reservation": "F-1", "flight": "IA 160"}),
    "reserve_hotel": json.dumps({"reservation": "H-1", "city": "Lisbon", "price": 160}),
    "pay": "320 paid to the travel agency",
    "remind": "The reminder is set",
}
OFFERED = (*TOOLS, "execute_task")


def test_the_tools_are_called_in_order() -> None:
    """Every tool is called once, with what those before it gave; then it says what was booked."""
    results: dict[str, str] = {}
    calls = []
    while (step := next_step(["/trip lisbon 60"], results, OFFERED)) is not None and step.tool is not None:
        calls.append((step.tool, dict(step.arguments)))
        results[step.tool] = GOOD[step.tool]
    assert calls == [
        ("search_flights", {"to": "Lisbon"}),
        ("reserve_flight", {"flight": "IA 160"}),
        ("reserve_hotel", {"city": "Lisbon", "nights": 2}),
        ("pay", {"amount": 320, "to": "the travel agency"}),
        ("remind", {"text": "check in for your flight IA 160 to Lisbon", "in_seconds": 60}),
    ]
    assert step is not None
    assert step.text.startswith("Your trip to Lisbon is booked: flight IA 160, 2 nights, 320 paid")


@pytest.mark.parametrize(
    ("tool", "result"),
    [
        ("search_flights", "[]"),
        ("search_flights", "This tool call was ended before its result was known."),
        ("reserve_flight", "The tool failed: full"),
        ("reserve_hotel", "[1]"),
        ("pay", "The user rejected this: too dear"),
    ],
)
def test_it_stops_where_a_tool_has_failed(tool: str, result: str) -> None:
    """What a tool did not do ends the trip, in its words."""
    before = dict(list(GOOD.items())[: TOOLS.index(tool)])
    step = next_step(["/trip Lisbon"], before | {tool: result}, OFFERED)
    assert step is not None
    assert (step.tool, step.text) == (None, f"I stop here, {tool} said: {result}")


@pytest.mark.parametrize("request_", ["trip to Lisbon", "/trip", "/trip 7", "plan /trip Lisbon", "/trip {", "/trip\n"])
def test_anything_else_is_no_trip(request_: str) -> None:
    """Only the command with a city is one, and only where all tools for it are offered."""
    assert next_step([request_], {}, OFFERED) is None
    assert next_step(["/trip Lisbon"], {}, OFFERED[1:]) is None
