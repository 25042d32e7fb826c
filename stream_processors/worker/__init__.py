"""Frames to decisions: the Faust app that answers every frame, and what surrounds it."""
