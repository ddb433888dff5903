"""An OpenAI-compatible endpoint: for clients that know chats only as lists of messages.

The gateway imports its routes from here.
"""

from app.web.openai.routes import routes

__all__ = ["routes"]
