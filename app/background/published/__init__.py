"""What code written for the published library says, and only that."""
