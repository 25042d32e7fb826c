"""Error analysis of a stretch: how often a decider was right, where it was wrong, and whether another one does better.

`analyse` and `compare` take a `replay.analysis.table.Table` and return plain records (`replay.analysis.results`);
`as_json` turns them into JSON. Only the functions for golden samples read files; nothing here reads a topic.
"""

from replay.analysis.comparison import compare, compare_frames
from replay.analysis.comparison_results import Comparison
from replay.analysis.golden import GoldenSample, compare_golden, load_golden
from replay.analysis.json_form import as_json
from replay.analysis.overview import analyse
from replay.analysis.promotion import PromotionLimits
from replay.analysis.results import Analysis

__all__ = [
    "Analysis",
    "Comparison",
    "GoldenSample",
    "PromotionLimits",
    "analyse",
    "as_json",
    "compare",
    "compare_frames",
    "compare_golden",
    "load_golden",
]
