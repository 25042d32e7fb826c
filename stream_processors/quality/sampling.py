"""Which frames are worth a person's look, and why: a pure function of the decision.

Checked in this order, the first that holds is the reason:

=================  ===============================================================  ==============================
reason             holds if                                                         share of the frames
=================  ===============================================================  ==============================
``random``         a hash of the frame id is below ``random_share``                 ``random_share``
``near-threshold`` the score is within ``band`` of its threshold                    what lies there
``disagreement``   the label scores are spread: entropy from 0.9 of its maximum on  what is so
``episode``        an episode of drift is open, and the hash is below its share     `EPISODE_SHARE`
=================  ===============================================================  ==============================

``random`` comes first, so that the frames it takes are a sample of *all* of them, those near the threshold included:
only then do their labels speak for the parts that nobody looks at. The rest is uncertainty sampling: B. Settles,
"Active learning literature survey", University of Wisconsin-Madison TR 1648, 2009, section 3.1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from schemas.records import Decision, ResultState

RANDOM_SHARE = 0.01
BAND = 0.05
#: Of the frames during an episode.
EPISODE_SHARE = 0.05
#: Entropy of the label scores, as a share of its maximum, from which on the labels disagree.
MIN_ENTROPY = 0.9


def why_review(
    decision: Decision, *, in_episode: bool, random_share: float = RANDOM_SHARE, band: float = BAND
) -> str | None:
    """Why a frame is worth a label; None if it is not. What was not inspected (ABORTED, FAILED) never is.

    Parameters
    ----------
    in_episode
        Whether an episode of drift is open for this camera.
    random_share
        Share of all frames taken blindly, in [0, 1].
    band
        Distance of score and threshold that counts as near, in units of the score.
    """
    if decision.result_state is not ResultState.COMPLETED:
        return None
    if hash_share(decision.frame_id, "random") < random_share:
        return "random"
    if _nearness(decision, band) > 0.0:
        return "near-threshold"
    if entropy(decision.labels) >= MIN_ENTROPY:
        return "disagreement"
    if in_episode and hash_share(decision.frame_id, "episode") < EPISODE_SHARE:
        return "episode"
    return None


def review_priority(
    decision: Decision, *, in_episode: bool, random_share: float = RANDOM_SHARE, band: float = BAND
) -> float:
    """How much a label would tell, in [0, 1]; 0 where `why_review` gives no reason.

    Random frames have 1: nothing else can say what the accepted parts are like. Then, from 0.9 down to 0.5, the nearer
    the threshold the higher; disagreement is 0.3 to 0.5 by its entropy; an episode's frame 0.2.
    """
    reason = why_review(decision, in_episode=in_episode, random_share=random_share, band=band)
    if reason == "random":
        return 1.0
    if reason == "near-threshold":
        return 0.5 + 0.4 * _nearness(decision, band)
    if reason == "disagreement":
        return min(0.5, 0.3 + 0.2 * (entropy(decision.labels) - MIN_ENTROPY) / (1.0 - MIN_ENTROPY))
    return 0.2 if reason == "episode" else 0.0


def hash_share(frame_id: str, purpose: str) -> float:
    """A number in [0, 1) that is spread evenly over frames, and always the same for one.

    Examples
    --------
    >>> round(hash_share("press.top.1.00000012", "random"), 4)
    0.7941
    """
    digest = hashlib.blake2b(f"{purpose}\0{frame_id}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2.0**48


def entropy(scores: Mapping[str, float]) -> float:
    """Entropy of label scores scaled to a sum of 1, as a share of its maximum; 0 if they are no such thing.

    Examples
    --------
    >>> entropy({"good": 0.5, "crack": 0.5}), entropy({"good": 1.0, "crack": 0.0}), entropy({"good": float("nan")})
    (1.0, 0.0, 0.0)
    """
    values = list(scores.values())
    total = sum(values)
    if len(values) < 2 or not all(math.isfinite(v) and v >= 0.0 for v in values) or not 0.0 < total < math.inf:
        return 0.0
    shares = [value / total for value in values]
    spread = -sum(share * math.log(share) for share in shares if share > 0.0)
    return min(1.0, max(0.0, spread / math.log(len(values))))


def _nearness(decision: Decision, band: float) -> float:
    """1 at the threshold, 0 at the band's edge and beyond, and without a usable score."""
    score, threshold = decision.score, decision.threshold
    if score is None or threshold is None or band <= 0.0:
        return 0.0
    distance = abs(score - threshold) / band
    return 1.0 - distance if distance < 1.0 else 0.0
