"""Commands that inspect and explain the past."""
