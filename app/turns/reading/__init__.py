"""What people are shown of a chat: its history and its status."""
