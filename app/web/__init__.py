"""What browsers and other clients see of chats and agents, over HTTP."""
