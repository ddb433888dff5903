"""The route of our MCP server where its package is missing."""

import httpx
import pytest

from app.settings import Settings
from app.web.app import build_gateway
from app.web.mcp import routes


async def test_without_the_package_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed the route says what to install, and the gateway goes on."""
    routes_module = routes.__globals__
    monkeypatch.setitem(routes_module, "find_spec", lambda _: None)
    routes_module["_server"].cache_clear()
    gateway = build_gateway(Settings(web_port=8000))
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        answer = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert (await http.get("/health")).status_code == 200
    assert answer.status_code == 501
    assert "requirements-mcp.txt" in answer.json()["error"]["message"]
