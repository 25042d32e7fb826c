"""Measurements, each one a program ``python -m benchmarks.NAME``; no test result depends on them."""
