"""Background agents of chats, on servers of their own, with an agent of the test's."""
