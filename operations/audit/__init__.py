"""Accounts of every frame: compared with its answers, and with the counts of the edge."""
