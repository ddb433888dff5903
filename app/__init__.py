"""Interruptible agents: chat agents that people can talk to while they work, durable on Restate."""
