"""Labelled data sets that a Python package ships, read in place and never copied."""
