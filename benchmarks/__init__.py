"""What is measured, each by ``python -m benchmarks.NAME``; nothing here decides whether a test passes."""
