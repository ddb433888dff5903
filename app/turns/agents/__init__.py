"""Background agents that a chat has started: what it knows of them, and what they say to it."""
