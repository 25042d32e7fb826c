"""Error analysis of a stretch: how right a decider was, where not, and whether another one would do better."""

from replay.analysis.json_form import as_json

__all__ = ["as_json"]
