"""Files that come with messages: which are taken, and the folder or bucket that they are kept in.

Knows chats by their keys only. What the LLM is shown of a file is not decided here.
"""

from app.files.chosen import files_of, get_files, require_files
from app.files.kinds import IMAGES, is_inline
from app.files.names import clean_name
from app.files.store import Files
from app.files.sweeping import sweeping

__all__ = ["IMAGES", "Files", "clean_name", "files_of", "get_files", "is_inline", "require_files", "sweeping"]
