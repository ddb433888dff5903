"""The deterministic event loop, and its parts."""
