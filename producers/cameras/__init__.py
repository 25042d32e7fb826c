"""Cameras that ship. Each is one file; `producers.plugins` finds them by name."""
