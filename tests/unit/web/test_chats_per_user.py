"""How many chats a user may have at the gateway."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.web import listing
from app.web.caller import Caller
from app.web.listing import _keys_of
from tests.support.gateway import ALICE, TOKENS, FakeIngress, bearer, gateway

TRICKS = ["o'brien", "a' OR '1'='1", "x'; DROP TABLE state; --"]


class Stored:
    """What Restate stores of chats: `keys` are those of the caller, `asked` the SQL."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.asked: list[str] = []

    async def __call__(self, sql: str) -> list[dict[str, Any]]:
        self.asked.append(sql)
        return [{"service_key": key} for key in self.keys]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stored]:
    stored = Stored()
    monkeypatch.setattr(listing, "query", stored)
    listing._known.clear()
    yield stored
    listing._known.clear()


async def say(http: Any, key: str) -> Any:
    return await http.post(f"/chats/{key}/messages", json={"content": "hi"}, headers=bearer(ALICE))


async def test_one_more_chat_is_refused(stored: Stored) -> None:
    """A user who has as many chats as allowed writes in them, and begins no other before one is forgotten."""
    stored.keys = ["alice"]
    ingress = FakeIngress()
    async with gateway(ingress, web_tokens=TOKENS, max_chats_per_user=2) as http:
        assert (await say(http, "alice")).status_code == 200
        assert (await say(http, "alice:two")).status_code == 200, "its state may not be seen yet"
        refused = await say(http, "alice:three")
        assert refused.status_code == 429
        assert refused.json()["error"]["message"] == (
            "You have 2 chats, the limit is 2 (MAX_CHATS_PER_USER): write in one of them, or forget one first."
        )
        mode = await http.post("/chats/alice:three/set_mode", json={"mode": "QUEUE"}, headers=bearer(ALICE))
        assert mode.status_code == 429
        assert [key for key, _, _ in ingress.calls] == ["alice", "alice:two"]

        await http.post("/chats/alice:two/forget", json={}, headers=bearer(ALICE))
        assert (await say(http, "alice:three")).status_code == 200


async def test_a_known_chat_is_not_looked_for_again(stored: Stored) -> None:
    """Each message does not cost a query."""
    stored.keys = ["alice"]
    async with gateway(web_tokens=TOKENS, max_chats_per_user=2) as http:
        for _ in range(5):
            await say(http, "alice")
    assert len(stored.asked) == 1


@pytest.mark.parametrize("settings", [{"web_tokens": TOKENS}, {"max_chats_per_user": 1}])
async def test_without_a_limit_nothing_is_asked(stored: Stored, settings: dict[str, Any]) -> None:
    """Without the setting, or where nobody signs in, there is no limit, and it costs nothing."""
    async with gateway(**settings) as http:
        for key in ("alice", "alice:two", "alice:three"):
            assert (await say(http, key)).status_code == 200
    assert stored.asked == []


@pytest.mark.parametrize("key", TRICKS)
def test_a_key_is_never_sql(key: str) -> None:
    """The key of a chat that is to begin is a literal."""
    sql = _keys_of(Caller(user="alice", how="token", address="", operator=False), key, 3)
    assert f"service_key = '{key.replace(chr(39), chr(39) * 2)}' DESC LIMIT 3" in sql
