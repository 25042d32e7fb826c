"""Selection of the frames that a person should label, with the reason: a pure function of the decision.

The reasons are checked in this order; the first that applies counts:

=================  ===============================================================  ==============================
reason             applies if                                                       share of the frames
=================  ===============================================================  ==============================
``random``         a hash of the frame id is below ``random_share``                 ``random_share``
``near-threshold`` the score is within ``band`` of its threshold                    all such frames
``disagreement``   the label scores are spread: entropy from 0.9 of its maximum on  all such frames
``episode``        an episode of drift is open, and the hash is below its share     `EPISODE_SHARE`
=================  ===============================================================  ==============================

``random`` comes first, so that its frames are a sample of *all* frames, including those near the threshold. Only then
are their labels representative of the parts that nobody looks at. The rest is uncertainty sampling: B. Settles,
"Active learning literature survey", University of Wisconsin-Madison TR 1648, 2009, section 3.1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from schemas.records import Decision, ResultState

RANDOM_SHARE = 0.01
BAND = 0.05
#: Share of the frames during an episode.
EPISODE_SHARE = 0.05
#: Entropy of the label scores, as a share of its maximum, from which on the labels disagree.
MIN_ENTROPY = 0.9


def review_reason(
    decision: Decision, *, in_episode: bool, random_share: float = RANDOM_SHARE, band: float = BAND
) -> str | None:
    """Return the reason why a frame is worth a label; None if it is not. ABORTED and FAILED frames never are.

    Parameters
    ----------
    in_episode
        True if an episode of drift is open for this camera.
    random_share
        Share of all frames taken blindly, in [0, 1].
    band
        Distance between score and threshold that counts as near, in units of the score.
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
    """Return the information that a label would add, in [0, 1]; 0 if `review_reason` returns no reason.

    Random frames have 1: nothing else can tell what the accepted parts are like. Frames near the threshold have 0.9
    down to 0.5, the nearer the higher. A disagreement has 0.3 to 0.5, by its entropy; a frame of an episode has 0.2.
    """
    reason = review_reason(decision, in_episode=in_episode, random_share=random_share, band=band)
    if reason == "random":
        return 1.0
    if reason == "near-threshold":
        return 0.5 + 0.4 * _nearness(decision, band)
    if reason == "disagreement":
        return min(0.5, 0.3 + 0.2 * (entropy(decision.labels) - MIN_ENTROPY) / (1.0 - MIN_ENTROPY))
    return 0.2 if reason == "episode" else 0.0


def hash_share(frame_id: str, purpose: str) -> float:
    """Return a number in [0, 1) that is spread evenly over frames, and always the same for one frame.

    Examples
    --------
    >>> round(hash_share("press.top.1.00000012", "random"), 4)
    0.7941
    """
    digest = hashlib.blake2b(f"{purpose}\0{frame_id}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2.0**48


def entropy(scores: Mapping[str, float]) -> float:
    """Return the entropy of label scores scaled to a sum of 1, as a share of its maximum; 0 if they are not scores.

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
    """Return 1 at the threshold, 0 at the band's edge and beyond, and 0 without a usable score."""
    score, threshold = decision.score, decision.threshold
    if score is None or threshold is None or band <= 0.0:
        return 0.0
    distance = abs(score - threshold) / band
    return 1.0 - distance if distance < 1.0 else 0.0
