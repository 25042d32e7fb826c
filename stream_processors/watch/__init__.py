"""Decisions and labels to episodes of drift: the Faust app that watches the stream."""
