"""Choice between the recipes that were tried."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from models.training.anomaly_fit import SyntheticResult
from models.training.sentences import recipe_lines
from models.training.train import RECIPES, TrainingOptions, train
from models.training.tried_recipe import TriedRecipe, best_recipe
from tests.support.boards import moved_board
from tests.support.parts import good_part

PLACES, SURFACE, WHOLE, _, PIXELS = RECIPES


def tried(*qualities: tuple[Any, float, float]) -> list[tuple[TriedRecipe, Any]]:
    """Return recipes with their AUROC on synthetic defects, and on the finest ones."""
    found = []
    for recipe, quality, finest in qualities:
        results = [[SyntheticResult("patch", 0.1, 1.0, each)] for each in (quality, finest)]
        fit = cast(Any, SimpleNamespace(recipe=recipe))
        found.append((TriedRecipe(cast(Any, None), fit, *results, 1.0), cast(Any, None)))
    return found


@pytest.mark.parametrize(
    ("lies_anyhow", "qualities", "chosen"),
    [
        (False, [(PLACES, 0.94, 0.5), (SURFACE, 0.955, 0.6)], PLACES),
        (True, [(PLACES, 0.94, 0.5), (SURFACE, 0.955, 0.6)], SURFACE),
        (True, [(PLACES, 0.999, 0.5), (SURFACE, 0.99, 0.6), (WHOLE, 1.0, 0.5)], PLACES),
        (False, [(PLACES, 0.99, 0.5), (PIXELS, 0.98, 0.9)], PIXELS),
        (False, [(PLACES, 0.99, 0.9), (PIXELS, 0.98, 0.9)], PLACES),
        (False, [(PLACES, 0.9, 0.5), (PIXELS, 0.98, 0.4)], PIXELS),
    ],
)
def test_a_tie_is_narrow_for_parts_that_lie_anyhow(
    lies_anyhow: bool, qualities: list[tuple[Any, float, float]], chosen: object
) -> None:
    best, _ = best_recipe(tried(*qualities), lies_anyhow=lies_anyhow)
    assert best.fit.recipe is chosen


@pytest.mark.long
def test_few_images_of_one_kind_do_not_replace_a_recipe_that_sees_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All recipes see a board that is covered by half; only pixels see a missing hole."""
    monkeypatch.setattr("models.training.train.RECIPES", (PLACES, PIXELS))
    for number in range(24):
        (tmp_path / "good").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "good" / f"{number:02}.png"), moved_board(number))
    (tmp_path / "haze").mkdir()
    for number in range(10):
        board = moved_board(50 + number)
        board[100:200, 100:300] = cv2.GaussianBlur(board[100:200, 100:300], (0, 0), 4)
        cv2.imwrite(str(tmp_path / "haze" / f"{number:02}.png"), board)
    result = train(tmp_path, TrainingOptions(overkill=0.05))
    assert result.best.fit.recipe is not PLACES
    assert result.reason == ""


@pytest.mark.long
def test_defective_parts_that_leave_no_doubt_choose_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are turned anyhow, so that places hardly show the spots. Nothing is learned here."""
    monkeypatch.setattr("models.training.train.learn_defects", lambda *given: None)
    monkeypatch.setattr("models.training.train.RECIPES", (PLACES, WHOLE))
    monkeypatch.setattr("models.training.tried_recipe._TIE", 1.0)
    for name, count in (("good", 40), ("spot", 30)):
        (tmp_path / name).mkdir()
        for number in range(count):
            part = good_part(number + 100 * (name == "spot"))
            if name == "spot":
                x, y = np.random.default_rng(number).integers(60, 160, 2).tolist()
                cv2.circle(part, (x, y), 2, 70, -1)
            turn = cv2.getRotationMatrix2D((112, 112), 360 * number / count, 1.0)
            part = cv2.warpAffine(part, turn, (224, 224), borderMode=cv2.BORDER_REFLECT)
            cv2.imwrite(str(tmp_path / name / f"{number:02}.png"), part)
    result = train(tmp_path, TrainingOptions(overkill=0.05))
    assert result.best.fit.recipe == WHOLE
    assert "recipe whole was chosen because it tells the defective parts apart better than places" in "\n".join(
        recipe_lines(result)
    )
