"""The messages that wait for the agent: what people do with them, and the shapes of those requests and answers."""
