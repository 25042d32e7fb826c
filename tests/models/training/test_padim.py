"""Sums in parts are the sums of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from models.training import padim
from models.training.padim import Moments


@pytest.mark.parametrize("is_alike", [False, True])
def test_parts_add_up(is_alike: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = np.random.default_rng(1).normal(3, 1, (11, 4, 5)).astype(np.float16)
    whole = Moments.of(patches, is_alike=is_alike)
    distances = whole.gaussians().distances(patches)
    monkeypatch.setattr(padim, "_PART_VALUES", 3 * 4 * 5)
    parts = Moments.of(patches, is_alike=is_alike)
    assert (parts.count, len(parts.total)) == ((44, 1) if is_alike else (11, 4))
    np.testing.assert_allclose(parts.products, whole.products)
    np.testing.assert_allclose(parts.gaussians().distances(patches), distances, rtol=1e-4)
    values = patches.astype(np.float64)
    expected = np.cov(values.reshape(-1, 5) if is_alike else values[:, 0], rowvar=False)
    count = 44 if is_alike else 11
    mean = whole.total[0] / count
    np.testing.assert_allclose((whole.products[0] - count * np.outer(mean, mean)) / (count - 1), expected, rtol=1e-6)
