"""Selection of the watched frames by the correlation of neighbouring frames."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.drift.thinning import Thinning


@pytest.mark.parametrize("lacking", [None, 149, 299, 300])
def test_a_signal_that_a_frame_lacks_makes_no_correlation(lacking: int | None) -> None:
    # Independent scores, away from the reference; the 300th frame is the one after which the own mean counts.
    scores = np.random.default_rng(1).normal(1.2, 1, 1500).tolist()
    thinning = Thinning(["brightness"])
    strides = []
    for number, score in enumerate(scores):
        thinning.watch({} if number == lacking else {"brightness": score})
        strides.append(thinning.stride)
    assert set(strides[301:]) == {1}
