"""The application with a tool whose results are long. Run as a file, in place of `app/main.py`."""

import sys
from pathlib import Path

# Run as a file, the first place of the path is this folder.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import app.tools
from app.tools.registry import by_name, tool


@tool
async def read(page: int, chars: int) -> str:
    """Return a page of so many characters."""
    return f"page {page} " + "x" * chars


if __name__ == "__main__":
    app.tools.TOOLS = by_name(*app.tools.TOOLS.values(), read)  # before the rest of the house is imported
    from app.main import main

    raise SystemExit(main(sys.argv[1:]))
