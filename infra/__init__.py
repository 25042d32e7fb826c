"""Starts things: command line, local broker, topics, demo. Nothing imports it."""
