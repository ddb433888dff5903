"""What we ask of Restate itself: its admin API, and what its attempts tell of journals that do not fit."""
