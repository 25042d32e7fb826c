"""Another threshold is another manifest, for every task; one inference serves them all."""

from __future__ import annotations

import numpy as np
import pytest

from models import ImageError, inspect_image, load_model
from models.inspect_images import inspect_images
from models.tasks import TASKS
from models.thresholds import with_threshold
from schemas.errors import SettingsError
from tests.support.packages import MakePackage, encoded, mean_classifier
from tests.support.task_models import CASES

THRESHOLDS = (0.35, 0.4, 0.55, 0.9)


def images() -> list[bytes]:
    """Flat and patterned ones: some have regions that only a low threshold joins."""
    rng = np.random.default_rng(3)
    flat = [np.full((8, 8), level, np.uint8) for level in range(80, 160, 5)]
    return [encoded(image) for image in [*flat, *rng.integers(0, 255, (20, 8, 8), np.uint8)]]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_it_equals_the_package_whose_manifest_says_so(task: str, make_package: MakePackage) -> None:
    make_model, changes = CASES[task]
    rule = {"recipe_id": "tiny", "revision": 1, "review_band": [0.45, 0.5]}
    given = load_model(make_package(make_model(), **changes, decision={**rule, "threshold": 0.5}))
    told = [with_threshold(given, threshold) for threshold in THRESHOLDS]
    packages = [
        load_model(make_package(make_model(), **changes, decision={**rule, "threshold": threshold}))
        for threshold in THRESHOLDS
    ]
    assert [model.recipe_revision for model in told] == [model.recipe_revision for model in packages]
    assert len({given.recipe_revision, *(model.recipe_revision for model in told)}) == 5
    seen = set()
    given_images = images()
    for image, together in zip(
        given_images, inspect_images([(i, None) for i in given_images], (given, *told)), strict=True
    ):
        assert not isinstance(together, Exception)
        alone = (inspect_image(image, given), *(inspect_image(image, model) for model in packages))
        assert together == alone
        assert together[0].signals == together[1].signals
        assert together[0].signals is not together[1].signals
        seen.update((found.threshold, found.verdict, len(found.defects)) for found in together)
    # It must make a difference, or the test says nothing.
    assert len({verdict for _, verdict, _ in seen}) == 2
    if task == "anomaly_map":
        assert len({count for _, _, count in seen}) > 2


def test_one_network_is_told_from_another(make_package: MakePackage) -> None:
    given = load_model(make_package())
    other_input = {
        "name": "image",
        "width": 8,
        "height": 8,
        "colour": "grey",
        "dtype": "float32",
        "resize": "letterbox",
    }
    assert with_threshold(given, 0.1).network == given.network == load_model(make_package()).network
    assert load_model(make_package(input=other_input)).network != given.network
    assert load_model(make_package(mean_classifier(), name="x")).network == given.network


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), float("inf")])
def test_no_threshold(threshold: float, make_package: MakePackage) -> None:
    with pytest.raises(SettingsError, match=r"^threshold .* for tiny: "):
        with_threshold(load_model(make_package()), threshold)


def test_a_detector_that_hides_boxes_from_it(make_package: MakePackage) -> None:
    make_model, changes = CASES["detection"]
    with pytest.raises(SettingsError, match="would hide defects"):
        with_threshold(load_model(make_package(make_model(), **changes)), 0.2)


def test_one_image_that_cannot_be_read_is_an_error_of_its_own(make_package: MakePackage) -> None:
    model = load_model(make_package())
    good = encoded(np.zeros((8, 8), np.uint8))
    first, broken, altered, last = inspect_images([(good, None), (b"x", None), (good, "00"), (good, None)], (model,))
    assert isinstance(broken, ImageError)
    assert isinstance(altered, ImageError)
    assert (broken.kind, altered.kind) == ("unreadable-image", "altered-image")
    assert first == last == (inspect_image(good, model),)
    assert inspect_images([], (model,)) == []
