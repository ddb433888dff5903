"""Files that come with messages: their routes."""
