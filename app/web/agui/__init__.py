"""AG-UI: what happens in a chat, in the words of the Agent User Interaction Protocol.

The gateway imports its routes from here.
"""

from app.web.agui.routes import routes

__all__ = ["routes"]
