"""Command line `inspection`: one module for each command. Heavy packages are imported inside the commands."""
