"""The client of background agents, for Python code."""
