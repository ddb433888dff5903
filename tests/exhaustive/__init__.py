"""What unit tests show with a few, proven with many: random programs, CPython's tests, a type checker, other Pythons.

No test here needs a restate-server; together they take a minute.
"""
