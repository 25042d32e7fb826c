"""Wilson score interval of a share (E. B. Wilson, JASA 22, 1927)."""

from __future__ import annotations

import math


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the bounds of the 95 % interval of ``hits / total``.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson(90, 100)]
    [0.826, 0.945]
    >>> wilson(0, 30)[0], wilson(30, 30)[1]
    (0.0, 1.0)
    """
    if not total:
        return 0.0, 1.0
    share, z2 = hits / total, z * z / total
    centre = share + z2 / 2
    half = z * math.sqrt(share * (1 - share) / total + z2 / (4 * total))
    # Rounding can lead just beyond 0 and 1.
    return max(0.0, (centre - half) / (1 + z2)), min(1.0, (centre + half) / (1 + z2))
