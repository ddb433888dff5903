"""The terminal client: a chat of the gateway on a terminal, or line by line through pipes.

It knows the gateway by its HTTP routes only, as any other client does.
"""
