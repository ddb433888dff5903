"""The turns of a chat: the rooms behind `chat.py` and `agent_session.py`."""
