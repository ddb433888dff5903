"""Messages on their way into a chat, whoever sends them."""
