"""From declarations to a process that serves them."""
