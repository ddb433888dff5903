"""Long chats: the summary of turns that the LLM sees no more, and a turn that outgrows the window."""
