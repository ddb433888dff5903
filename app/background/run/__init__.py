"""One run of one agent: what executes it, and what its code calls meanwhile."""
