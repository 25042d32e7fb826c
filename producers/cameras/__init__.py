"""Built-in cameras. Each camera is one file; `producers.plugins` finds them by name."""
