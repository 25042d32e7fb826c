"""Benchmark of drift detection on streams of real images with known changes, beside other libraries.

`make bench-drift` runs it.
"""
