"""Textile with specks of ten pixels: the command states by itself that it does not see them, and tiles see more."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.input_text import parse_tiles
from models.training.features import InspectedPart
from models.training.train import TrainingOptions, train
from tests.support.textile import textile_images

pytestmark = [pytest.mark.importers, pytest.mark.long]


def test_small_specks_on_textile_need_tiles_and_the_command_says_so(tmp_path: Path) -> None:
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
    assert any("train with --tiles 2x2" in line for line in result.warnings)
    tiled = train(tmp_path, TrainingOptions(recipe="places", part=InspectedPart(tiles=parse_tiles("3x3"))))
    assert tiled.defects is not None
    assert tiled.defects.figures.kinds["specks"][0] > max(0.8, kinds["specks"] + 0.1)
