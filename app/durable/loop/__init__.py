"""The deterministic event loop, and its parts. None of them waits for the engine: `driver.py` does."""
