"""The tools of the agent: one file each, listed here. What a tool is stands in `registry.py`."""

from app.tools.execute_task import execute_task
from app.tools.registry import Tool, by_name, tool

__all__ = ["TOOLS", "Tool", "by_name", "tool"]

TOOLS = by_name(execute_task)
