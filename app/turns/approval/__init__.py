"""Tool calls that wait until a person approves them: the rules, what is said about them, and the words for the LLM."""
