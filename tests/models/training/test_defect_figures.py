"""Choice between two models for the package, by their figures on defective parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.training.labelled import Costs
from tests.support.defect_figures import a_test_of, figures


@pytest.mark.parametrize(("head", "is_packaged"), [(0.61, False), (0.67, False), (0.68, True), (0.9, True)])
def test_a_head_that_makes_it_worse_is_left_out(head: float, is_packaged: bool) -> None:
    test = a_test_of(figures(0.684, 38), figures(head, 5))
    assert (test.learned is not None) is is_packaged
    assert test.packaged_figures.escapes[0] == (5 if is_packaged else 38)


def test_a_head_that_costs_less_is_packaged() -> None:
    """An AUROC a little lower says less than five escapes instead of 38, at the costs that were stated."""
    test = replace(a_test_of(figures(0.684, 38), figures(0.67, 5)), is_cheaper=True)
    assert test.packaged_figures.escapes[0] == 5


@pytest.mark.parametrize(
    ("escapes", "overkill", "is_cheaper"),
    [(5, 1, True), (5, 4, True), (38, 1, False), (40, 0, False), (30, 8, False)],
    ids=["fewer escapes", "allowed overkill is free", "the same", "more escapes", "much more overkill"],
)
def test_costs_are_those_of_the_threshold(escapes: int, overkill: int, is_cheaper: bool) -> None:
    costs, map_alone = Costs(0.2, 0.05), figures(0.7, 38)
    head = replace(map_alone, escapes=(escapes, 40), overkill=(overkill, 80))
    assert (costs.of(head) < costs.of(map_alone)) is is_cheaper


def test_without_a_head_the_model_of_good_parts_counts() -> None:
    assert a_test_of(figures(0.7, 30), None).packaged_figures.escapes == (30, 40)
