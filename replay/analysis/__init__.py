"""Error analysis of a stretch: how right a decider was, where not, and whether another one would do better.

`analyse` and `compare` take a `replay.table.Table` and give plain records (`replay.analysis.results`); `as_json` makes
JSON of them. Nothing here reads a topic or a file, but for golden samples.
"""

from replay.analysis.comparison import compare, compare_frames
from replay.analysis.comparison_results import Comparison
from replay.analysis.gate import Limits
from replay.analysis.golden import GoldenSample, compare_golden, load_golden
from replay.analysis.json_form import as_json
from replay.analysis.overview import analyse
from replay.analysis.results import Analysis

__all__ = [
    "Analysis",
    "Comparison",
    "GoldenSample",
    "Limits",
    "analyse",
    "as_json",
    "compare",
    "compare_frames",
    "compare_golden",
    "load_golden",
]
