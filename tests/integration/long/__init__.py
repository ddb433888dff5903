"""Chats that outgrow the window: summaries, and turns that are shortened, on servers of their own."""
