"""Commands for labels and quality."""
