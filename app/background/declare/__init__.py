"""What a process declares: agents, workflows and functions, as frozen definitions."""
