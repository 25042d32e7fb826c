"""Audit trail: acts of people on a line are recorded, and read back with a check of the hash chain."""
