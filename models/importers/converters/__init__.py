"""Scripts that run in the environments of other frameworks; each imports a framework, its exporter and NumPy only."""
