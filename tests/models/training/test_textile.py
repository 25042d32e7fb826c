"""Textile with specks of ten pixels: the command states by itself that it does not see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.training.train import TrainingOptions, train
from tests.support.textile import textile_images

pytestmark = [pytest.mark.importers, pytest.mark.long]


def test_small_specks_on_textile_are_not_seen_and_the_command_says_so(tmp_path: Path) -> None:
    images = textile_images() / "simulated"
    for name, folder, count in (("good", "nominal", 120), ("specks", "local", 60), ("stripes", "global", 60)):
        (tmp_path / name).mkdir()
        for path in sorted((images / folder).iterdir())[:count]:
            (tmp_path / name / path.name).symlink_to(path)
    result = train(tmp_path, TrainingOptions(recipe="places"))
    assert result.defects is not None
    kinds = {kind: row[0] for kind, row in result.defects.figures.kinds.items()}
    assert kinds["specks"] < 0.75
    assert any("of synthetic defects of 5% of the image's side" in line for line in result.warnings)
