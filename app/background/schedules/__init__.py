"""Schedules: when agents are due, and starting them."""
