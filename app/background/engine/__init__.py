"""What Restate's admin API says of agents, their runs and their services."""
