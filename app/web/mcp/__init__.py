"""Our own MCP server, at `/mcp`: other agents use ours as tools.

The gateway imports its routes from here. The package `mcp` is optional: nothing here needs it before the first request.
"""

from app.web.mcp.routes import routes

__all__ = ["routes"]
