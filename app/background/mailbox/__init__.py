"""One background agent as it is stored: its record and its mailbox."""
