"""Re-inspection of recorded frames: with the champion, with other models, with other thresholds."""
