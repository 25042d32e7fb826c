"""Several labels at the same time, each with a threshold of its own, as one defect score.

The rule of a recipe compares one score with one threshold. So the score of each label is stretched, linearly in two
pieces, until its own threshold lies at the threshold of the recipe; the worst label is the defect score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from models.manifest import Manifest


def worst_label(scores: Mapping[str, float], manifest: Manifest) -> tuple[str, float]:
    """Return the label with the highest stretched score, and this score; the label of good parts does not count.

    A label without a threshold of its own has that of the recipe.

    Parameters
    ----------
    scores
        Score in [0, 1] of each label.
    """
    options, rule = manifest.classification, manifest.decision
    own = options.label_thresholds if options is not None else {}
    stretched = [
        (label, stretch(score, own.get(label, rule.threshold), rule.threshold))
        for label, score in scores.items()
        if label != manifest.good_label
    ]
    return max(stretched, key=lambda each: each[1])


def stretch(score: float, own: float, common: float) -> float:
    """Return the score at which ``own`` has moved to ``common``; 0 and 1 stay, and so does the order of scores.

    Examples
    --------
    >>> [round(stretch(score, 0.2, 0.5), 3) for score in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if score >= own:
        above = 1.0 - own
        return common + (score - own) / above * (1.0 - common) if above > 0 else max(common, score)
    # A score below its threshold stays below, whatever the rounding.
    return min(score / own * common, math.nextafter(common, -math.inf)) if common > 0 else score
