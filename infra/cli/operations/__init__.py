"""Commands that look after a running line."""
