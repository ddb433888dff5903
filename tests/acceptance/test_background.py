"""The example agents in the application as users run it: started and driven with plain HTTP, as curl does."""

from typing import Any

import httpx
import pytest

from tests.conftest import StartService
from tests.support.eventually import eventually
from tests.support.process import local_http
from tests.support.restate_server import RestateServer


async def ask(http: httpx.AsyncClient, handler: str, **body: Any) -> Any:
    answer = await http.post(f"/BackgroundAgents/{handler}", json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_example_agents(own_restate_server: RestateServer, start_service: StartService, workers: str) -> None:
    """Each example agent does what its file says, beside the chat, and is visible under its class name."""
    service = await start_service(RESTATE_ADMIN_URL=own_restate_server.admin_url, WORKERS=workers)
    await own_restate_server.register(service.url)
    async with local_http() as http:
        http.base_url = httpx.URL(own_restate_server.ingress_url)

        await ask(http, "schedule_agent", agent_name="TaskProcessor", agent_id="tasks")
        await ask(http, "send_agent_event", agent_id="tasks", event_name="configure", event_input={"max_retries": 3})
        for n in range(3):
            await ask(http, "send_agent_event", agent_id="tasks", event_name="add_task", event_input={"id": f"t{n}"})

        async def all_done() -> bool:
            return bool((await ask(http, "get_agent_state", agent_id="tasks", state_name="progress"))["completed"] == 3)

        await eventually(all_done)
        await ask(http, "send_agent_event", agent_id="tasks", event_name="shutdown")
        assert await ask(http, "get_agent_result", agent_id="tasks") == {"status": "shutdown", "completed": 3}

        titles = ["Agents", "Events"]
        await ask(http, "schedule_agent", agent_name="Report", agent_id="report", agent_input=titles)
        assert (await ask(http, "get_agent_result", agent_id="report")).count("All there is to say") == 2

        reminding = {"text": "tea", "in_seconds": 3600}
        await ask(http, "schedule_agent", agent_name="Reminder", agent_id="reminder", agent_input=reminding)
        await ask(http, "send_agent_event", agent_id="reminder", event_name="snooze", event_input=0.1)
        assert await ask(http, "get_agent_result", agent_id="reminder") == "tea"

        listed = await ask(http, "list_agents", agent_name="Section")
        assert [agent["agent_id"] for agent in listed["agents"]] == ["report-0", "report-1"]
    rows = await own_restate_server.query("SELECT DISTINCT target_service_name AS name FROM sys_invocation")
    assert {"TaskProcessor", "Report", "Section", "Reminder", "restack.functions.process_item"} <= {
        row["name"] for row in rows
    }
