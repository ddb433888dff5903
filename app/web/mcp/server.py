"""The MCP server itself: lists our tools and calls them, by the library's server.

Knows the protocol and the form of a result; what a tool does is in tools.py.
"""

import json
import logging
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from pydantic import ValidationError
from starlette.requests import Request

from app.errors import AgentError
from app.text import clean, clean_data
from app.values import problems_of
from app.web.mcp.tools import TOOLS, OurTool, Use

INSTRUCTIONS = (
    "Chats with an interruptible agent. `send_message` may be sent at any time, also while the agent works: its `mode` "
    "says what becomes of the work. A message with the same `message_id` is sent once. Where `approvals` are listed, "
    "the agent waits for a decision by `resolve_approval`: ask your user before you decide."
)

logger = logging.getLogger("mcp_server")


def build_server() -> Server[Any]:
    """Return the server."""
    return Server(
        "interruptible-agents",
        version="0.1.0",
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        get_tool_input_schema=lambda name: TOOLS[name].schema if name in TOOLS else None,
    )


async def _list_tools(
    _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_listed(tool) for tool in TOOLS.values()])


def _listed(tool: OurTool[Any]) -> types.Tool:
    hints = types.ToolAnnotations(
        read_only_hint=tool.reads_only, destructive_hint=tool.destroys, idempotent_hint=tool.reads_only
    )
    return types.Tool(name=tool.name, description=tool.description, input_schema=tool.schema, annotations=hints)


async def _call_tool(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    """Call a tool. What the caller did wrong is a result of it, in a sentence."""
    tool = TOOLS.get(params.name)
    request = context.request
    if tool is None:
        raise MCPError(types.INVALID_PARAMS, f"There is no tool {clean(params.name)[:80]!r}; the tools are {[*TOOLS]}.")
    if not isinstance(request, Request):
        raise MCPError(types.INTERNAL_ERROR, "This server is spoken to by HTTP.")

    async def tell(number: int, text: str) -> None:
        await context.session.report_progress(number, message=text)

    try:
        asked = tool.arguments.model_validate(clean_data(params.arguments or {}))
        return _result(await tool.run(Use(request, tell), asked))
    except ValidationError as exc:
        return _failed(f"Wrong arguments for {tool.name}: {problems_of(exc, whole='the arguments')}.")
    except RecursionError:
        return _failed(f"Wrong arguments for {tool.name}: they are nested too deeply.")
    except AgentError as exc:
        return _failed(exc.message)
    except Exception:
        logger.exception("Bug in the tool %s", tool.name)
        return _failed("Internal error: the log of the service says more.")


def _result(answer: dict[str, Any]) -> types.CallToolResult:
    answer = clean_data(answer)
    text = types.TextContent(text=json.dumps(answer, ensure_ascii=False))
    return types.CallToolResult(content=[text], structured_content=answer)


def _failed(sentence: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=clean(sentence))], is_error=True)
