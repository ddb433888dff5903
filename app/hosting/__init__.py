"""What a process needs to be served and found: its endpoint, its place, and the local stack of `make run`.

Has no rules of chats or agents.
"""
