"""Benchmarks: `python -m tests.bench` measures the running application, prints a table and writes JSON."""
