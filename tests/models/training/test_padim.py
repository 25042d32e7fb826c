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
    assert (parts.count.tolist(), len(parts.total)) == (([44], 1) if is_alike else ([11] * 4, 4))
    np.testing.assert_allclose(parts.products, whole.products)
    np.testing.assert_allclose(parts.gaussians().distances(patches), distances, rtol=1e-4)
    values = patches.astype(np.float64)
    expected = np.cov(values.reshape(-1, 5) if is_alike else values[:, 0], rowvar=False)
    count = 44 if is_alike else 11
    mean = whole.total[0] / count
    np.testing.assert_allclose((whole.products[0] - count * np.outer(mean, mean)) / (count - 1), expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [3, 5])
def test_images_count_for_the_places_that_they_show(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padim, "_PART_VALUES", 7 * 3 * channels)
    rng = np.random.default_rng(2)
    patches, shown = rng.normal(3, 1, (40, 3, channels)), np.ones((40, 3), bool)
    shown[10:, 1], shown[9:, 2] = False, False
    patches[~shown] = 1e4
    whole = Moments.of(patches, shown=shown)
    assert whole.count.tolist() == [40, 10, 9]
    parts = Moments.of(patches[:7], shown=shown[:7]) + Moments.of(patches[7:], shown=shown[7:])
    for moments in (whole, parts):
        gaussians = moments.gaussians()
        assert gaussians.is_known.tolist() == [True, True, False]
        for place, count in ((0, 40), (1, 10)):
            alone = Moments.of(patches[:count, place : place + 1]).gaussians()
            np.testing.assert_allclose(gaussians.mean[place], alone.mean[0], rtol=1e-5)
            np.testing.assert_allclose(gaussians.whitening[place], alone.whitening[0], rtol=1e-4, atol=1e-6)
        assert (gaussians.distances(patches)[:, 2] == 0).all()
    assert (whole - Moments.of(patches[:7], shown=shown[:7])).gaussians().is_known.tolist() == [True, False, False]


def test_a_place_has_the_mean_covariance_of_the_places_around_it() -> None:
    rng = np.random.default_rng(3)
    patches = rng.normal(0, 1, (200, 36, 3)) * np.linspace(1, 9, 36)[None, :, None]
    shown = np.ones((200, 36), bool)
    shown[20:, 14] = False
    moments = Moments.of(patches, shown=shown)
    gaussians = moments.gaussians(1.0, width=3)
    assert np.flatnonzero(~gaussians.is_known).tolist() == [14]
    around = [place for place in (0, 1, 2, 6, 7, 8, 12, 13, 14) if place != 14]
    covariance = np.mean([np.cov(patches[:, place], rowvar=False) for place in around], axis=0)
    found = np.linalg.inv(gaussians.whitening[7] @ gaussians.whitening[7].T)
    np.testing.assert_allclose(found, covariance + np.eye(3), rtol=0.05, atol=0.5)


def test_sensitivity_falls_with_the_limit_and_the_spread() -> None:
    patches = np.random.default_rng(4).normal(0, 1, (100, 16, 3))
    quiet, loud = (Moments.of(patches * spread).gaussians() for spread in (1, 8))
    assert quiet.sensitivity(5.0) == 1.0 > loud.sensitivity(5.0) > loud.sensitivity(50.0)
