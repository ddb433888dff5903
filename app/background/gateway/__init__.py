"""The way in for clients: one handler for each thing a client may want."""
