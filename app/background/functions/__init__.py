"""The functions that steps run, each a service of its task queue."""
