"""AG-UI: what happens in a chat, in the words of the Agent User Interaction Protocol."""
