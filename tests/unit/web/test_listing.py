"""`app/web/listing.py`: the SQL that it asks, and the list that it makes of the answer."""

import json
from typing import Any

import pytest

from app.web import listing
from app.web.caller import Caller
from app.web.listing import ListedChat, list_chats

TRICKS = ["o'brien", "a' OR '1'='1", "x'; DROP TABLE state; --", 'a"b', "a\\'b", "%", "_", "a%' OR key LIKE '%"]


def caller(user: str | None) -> Caller:
    return Caller(user=user, how="token", address="127.0.0.1", operator=False)


@pytest.fixture(autouse=True)
def fresh() -> None:
    listing._answers.clear()


@pytest.mark.parametrize("user", TRICKS)
def test_a_name_is_never_sql(user: str) -> None:
    """Whatever a user is called, the SQL has four literals, and the name is in two of them as it is in keys."""
    sql = listing._sessions_of(caller(user))
    key = caller(user).default_chat
    assert sql.count("'") == 8
    assert f"service_key = '{key}' OR starts_with(service_key, '{key}:'))" in sql


@pytest.mark.parametrize("key", [*TRICKS, "a''b", "'", "''"])
def test_a_key_is_never_sql(key: str) -> None:
    """Keys that were stored become literals: read back, they are the same keys."""
    sql = listing._turns_of({key: {"last_turn_id": 1}})
    inside = sql.partition("service_key IN (")[2].partition(") AND key IN")[0]
    assert inside.startswith("'")
    assert inside.endswith("'")
    assert inside[1:-1].replace("''", "'") == key
    assert "'" not in inside[1:-1].replace("''", "")


async def test_the_list_is_made_of_sessions_and_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open chats first, then by the end of their last turn; the title is the beginning of the first message."""
    sessions: dict[str, Any] = {
        "old": {"last_turn_id": 2, "open": []},
        "new": {"last_turn_id": 1, "open": []},
        "busy": {
            "last_turn_id": 1,
            "open": [{"turn_id": 1}],
            "turns": [{"turn_id": 1, "items": [], "pending": [{"message_id": "m", "content": "work\n\ton it"}]}],
        },
        "empty": {"last_turn_id": 0, "open": []},
    }
    first = '{"turn_id":1,"items":[{"kind":"user","message_id":"m","content":"' + "long " * 50  # cut off by the SQL
    hi = '{"items":[{"kind":"user","content":"hi"}]}'
    turns = [
        {"service_key": "old", "key": "turn/1", "beginning": first, "rest": ""},
        {"service_key": "old", "key": "turn/2", "beginning": "{}", "rest": '"started_at":1.0,"ended_at":5.5}'},
        {"service_key": "new", "key": "turn/1", "beginning": hi, "rest": '"ended_at":9}'},
    ]
    asked = []

    async def query(sql: str) -> list[dict[str, Any]]:
        asked.append(sql)
        if "substr" in sql:
            return turns
        return [{"service_key": key, "value_utf8": json.dumps(session)} for key, session in sessions.items()]

    monkeypatch.setattr(listing, "query", query)

    found = await list_chats(caller(None), 10)

    assert [chat.key for chat in found] == ["busy", "new", "old"]
    assert found[0] == ListedChat(key="busy", last_turn_id=1, busy=True, title="work on it")
    assert found[1].title == "hi"
    assert found[2].title.startswith("long long")
    assert len(found[2].title) == 81
    assert await list_chats(caller(None), 2) == found[:2]
    assert len(asked) == 2, "asked again within a second"


async def test_a_turn_that_knows_no_time_stands_where_its_invocation_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat whose last turn ended before any LLM call is listed by the time that Restate knows, not below all."""
    sessions = {key: {"last_turn_id": 1, "open": []} for key in ("old", "failed", "forgotten", "new")}
    times = {"old": 5.0, "new": 9.0}
    asked = []

    async def query(sql: str) -> list[dict[str, Any]]:
        asked.append(sql)
        if "sys_invocation" in sql:
            return [{"service_key": "failed", "ended_at": 7}]
        if "substr" in sql:
            return [
                {
                    "service_key": key,
                    "key": "turn/1",
                    "beginning": "{}",
                    "rest": f'"ended_at":{times.get(key, "null")}}}',
                }
                for key in sessions
            ]
        return [{"service_key": key, "value_utf8": json.dumps(session)} for key, session in sessions.items()]

    monkeypatch.setattr(listing, "query", query)

    assert [chat.key for chat in await list_chats(caller(None), 10)] == ["new", "failed", "old", "forgotten"]
    assert "IN ('failed', 'forgotten')" in asked[2], "asked for more than it needs"
    assert f"ORDER BY service_key LIMIT {listing.MAX_LOOKED_AT}" in asked[0]
