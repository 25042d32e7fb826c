"""The one door to the past: selections, their source, and the records they select."""
