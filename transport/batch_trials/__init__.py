"""Trials of what a process reads next, in child processes with a limit of memory."""
