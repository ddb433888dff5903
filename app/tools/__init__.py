"""The tools of the agent: one file each, listed here.

A tool imports `tool` from `app.tools.registry`, not from here: this file imports the tools. What else it may import is
in docs/tools.md.
"""

from app.tools.execute_task import execute_task
from app.tools.registry import Tool, by_name, tool

__all__ = ["TOOLS", "Tool", "by_name", "tool"]

TOOLS = by_name(execute_task)
