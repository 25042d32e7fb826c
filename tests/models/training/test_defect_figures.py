"""Choice between two models for the package, by their figures on defective parts."""

from __future__ import annotations

import pytest

from tests.support.defect_figures import a_test_of, figures


@pytest.mark.parametrize(("head", "is_packaged"), [(0.61, False), (0.67, False), (0.68, True), (0.9, True)])
def test_a_head_that_makes_it_worse_is_left_out(head: float, is_packaged: bool) -> None:
    test = a_test_of(figures(0.684, 38), figures(head, 5))
    assert (test.learned is not None) is is_packaged
    assert test.packaged_figures.escapes[0] == (5 if is_packaged else 38)


def test_without_a_head_the_model_of_good_parts_counts() -> None:
    assert a_test_of(figures(0.7, 30), None).packaged_figures.escapes == (30, 40)
