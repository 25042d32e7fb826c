"""The past, inspected again: with the champion, with other models, with other thresholds."""
