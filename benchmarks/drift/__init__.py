"""Drift detection on streams of real images with known change points, beside other libraries: `make bench-drift`."""
