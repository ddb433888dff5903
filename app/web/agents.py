"""The routes of background agents, for operators: which there are, how they are, and what came of them.

Only reads.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.background.engine.admin import stored
from app.background.mailbox.control import RECORD_KEY, Record, description_of
from app.background.protocol import MAILBOX
from app.web.caller import require_operator

MAX_LISTED = 500


def routes() -> list[Route]:
    """Return the routes of background agents."""
    return [Route("/agents", agents, methods=["GET"])]


async def agents(request: Request) -> Response:
    """List background agents: those that run first, then by id. Each has its status, and the result once it has one."""
    require_operator(request)
    records = [(agent_id, Record.model_validate(record)) for agent_id, record in await stored(MAILBOX, RECORD_KEY)]
    records.sort(key=lambda each: (each[1].outcome is not None, each[0]))
    listed = [
        description_of(agent_id, record).model_dump(mode="json", exclude={"children", "blocked"})
        | {"result": record.outcome.result if record.outcome else None}
        for agent_id, record in records[:MAX_LISTED]
    ]
    return JSONResponse({"agents": listed})
