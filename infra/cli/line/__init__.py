"""Commands that run the line."""
