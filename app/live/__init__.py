"""The stream of what a chat does right now, to whoever watches; what is durable comes from ChatService."""
