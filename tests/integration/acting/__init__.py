"""Tools that act: options, approval, on servers of their own, with more tools than the agent has by itself."""
