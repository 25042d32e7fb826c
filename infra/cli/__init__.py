"""`inspection`, the command line. One module a command; what is heavy is imported inside the commands."""

from infra.cli.root import main

__all__ = ["main"]
