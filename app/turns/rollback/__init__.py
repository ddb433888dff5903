"""Turns that are rolled back: their tool calls are undone, and the chat is told what could not be."""
