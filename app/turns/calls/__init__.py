"""The LLM calls of a turn: their attempts, and how the first one begins before its run does."""
