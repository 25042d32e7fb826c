"""Slices: none is found in noise, a planted one comes first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact

from monitoring.quality.estimates import Stratum, escape_rate
from replay.analysis.slice_results import Slice
from replay.analysis.slices import MAX_Q, find_slices
from replay.analysis.table import Table
from replay.analysis.view import decider_view
from tests.support.tables import labels, make_table, population, with_columns


def sliced(seed: int, count: int = 1500, **more: Any) -> Table:
    """Parts with lots, cameras, products and signals that have nothing to do with the errors."""
    random = np.random.default_rng(seed + 1_000)
    return population(
        seed, count, lot=[f"L{row * 15 // count}" for row in range(count)],
        camera=[f"s/c{row % 3}" for row in range(count)], attribute__product=[f"p{row % 4}" for row in range(count)],
        attribute__serial=[f"{row}" for row in range(count)],
        captured_at_us=np.arange(count) * 20_000_000, signal__brightness=random.normal(size=count),
        signal__noise=random.exponential(size=count), signal__dhash_hi=random.random(count), **more,
    )  # fmt: skip


def find(table: Table, truth_attribute: str | None = None) -> dict[tuple[str, str], Slice]:
    return {(one.by, one.name): one for one in find_slices(decider_view(table), truth_attribute).slices}


@pytest.mark.long
def test_in_noise_nothing_is_found() -> None:
    false = sum(any(one.is_significant for one in find(sliced(seed)).values()) for seed in range(40))
    # At most 1 in 20 are expected; of 40 more than 5 would come about once in 70 tries.
    assert false <= 5


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slice_comes_first(seed: int) -> None:
    table = sliced(seed, 3000, defective=0.2)
    lot, score = table["lot"], table["recorded.score"].copy()
    # Half of the bad parts of a lot look good.
    hidden = (lot == "L7") & (table["truth"] == 1) & (np.arange(len(table)) % 2 == 0)
    score[hidden] = 0.05
    action = np.where(score >= 0.5, "REJECT", "ACCEPT").astype(object)
    table = with_columns(table, recorded__score=score, recorded__action=action)
    found = find_slices(decider_view(table))
    first = found.slices[0]
    assert (first.by, first.name, first.worse_in, first.is_significant) == ("lot", "L7", "escape", True)
    assert first.escape is not None
    assert first.escape.is_worse


def test_what_is_sliced_by() -> None:
    table = with_columns(sliced(0, 600), defect=[None] * 600)
    bad = np.flatnonzero(table["truth"] == 1)
    defects = np.full(600, None, object)
    defects[bad[::2]] = "crack"
    table = with_columns(table, defect=defects, attribute__label=["x", "y"] * 300, signal__score=[0.1, 0.2] * 300)
    found = find(table, "label")
    kinds = {by for by, _ in found}
    assert kinds == {"camera", "lot", "class", "model", "product", "hour", "signal.brightness", "signal.noise"}
    assert {name for by, name in found if by == "class"} == {"crack", "unnamed"}
    assert {name for by, name in found if by == "hour"} == {f"{n:02}:00 to {n + 1:02}:00 UTC" for n in range(4)}
    quartiles = [one for (by, _), one in found.items() if by == "signal.noise"]
    assert sorted(one.parts for one in quartiles) == [150] * 4
    cracks = found["class", "crack"]
    assert cracks.overkill_test is None
    assert cracks.parts == cracks.labelled == len(bad[::2])
    assert cracks.overkill_rate.why_not == "cannot be estimated: overkill has no defect"
    assert ("label", "x") in find(table)


def test_a_slice_by_hand() -> None:
    # Camera a: 4 bad parts, 3 of them accepted; 6 good ones, 1 rejected. Camera b: 10 bad, 1 accepted; 10 good.
    score = np.array([0.1] * 3 + [0.9] + [0.1] * 5 + [0.9] + [0.1] + [0.9] * 9 + [0.1] * 10)
    truth = np.array([1] * 4 + [0] * 6 + [1] * 10 + [0] * 10)
    table = make_table(30, recorded__score=score, camera=["s/a"] * 10 + ["s/b"] * 20, **labels(truth))
    one = find(table)["camera", "s/a"]
    assert (one.parts, one.labelled, one.escapes, one.overkill) == (10, 10, 3, 1)
    assert one.escape is not None
    assert one.overkill_test is not None
    assert (one.escape.errors, one.escape.labels, one.escape.rest_errors, one.escape.rest_labels) == (3, 4, 1, 10)
    assert one.escape.p == pytest.approx(fisher_exact([[3, 1], [1, 9]]).pvalue)
    assert one.overkill_test.p == pytest.approx(fisher_exact([[1, 5], [0, 10]]).pvalue)
    assert one.escape_rate == escape_rate({"ACCEPT": Stratum(8, 8, 3), "REJECT": Stratum(2, 2, 1)})  # type: ignore[dict-item]
    assert one.worse_in == "escape"


def test_q_is_that_of_benjamini_and_hochberg() -> None:
    found = find_slices(decider_view(sliced(3)))
    tests = sorted(
        (test.p, test.q) for one in found.slices for test in (one.escape, one.overkill_test) if test is not None
    )
    assert len(tests) == found.tests
    for rank, (_, q) in enumerate(tests):
        later = [len(tests) * p / (place + 1) for place, (p, _) in enumerate(tests) if place >= rank]
        assert q == pytest.approx(min(1.0, *later))
    for one in found.slices:
        worse = [t.q for t in (one.escape, one.overkill_test) if t is not None and t.is_worse]
        assert one.is_significant == (bool(one.worse_in) and any(q <= MAX_Q for q in worse))


def test_only_labels_that_speak_are_tested() -> None:
    # One camera's accepted bad parts came back as complaints: it has more escapes with a label, not more escapes.
    score = np.array([0.1] * 200 + [0.9] * 200)
    truth = np.array([1] * 40 + [0] * 160 + [1] * 200)
    because: list[str | None] = ["complaint"] * 40 + ["random"] * 160 + ["reject"] * 200
    camera = ["s/a"] * 40 + [f"s/{'ab'[row % 2]}" for row in range(360)]
    one = find(make_table(400, recorded__score=score, camera=camera, **labels(truth, because)))["camera", "s/a"]
    assert one.escapes == 40
    assert one.escape is not None
    # The accepted parts all have a label, so here every one of them counts.
    assert one.escape.errors == 40
    truth[199] = -1
    one = find(make_table(400, recorded__score=score, camera=camera, **labels(truth, because)))["camera", "s/a"]
    assert one.escape is not None
    assert (one.escape.errors, one.is_significant) == (0, False)


def test_too_many_slices_of_a_kind_are_left_out_and_counted() -> None:
    count = 450
    found = find_slices(decider_view(population(0, count, lot=[f"L{row // 2}" for row in range(count)])))
    assert found.left_out == 25
    assert sum(one.by == "lot" for one in found.slices) == 200


def test_attributes_that_say_the_truth_are_no_slices() -> None:
    truth = np.array([0, 0, 0, 1] * 50)
    noisy = np.where(np.arange(200) % 40 == 3, 1 - truth, truth)
    table = make_table(
        200, recorded__score=np.where(np.arange(200) % 3 == 0, 0.7, 0.2), **labels(truth),
        **{
            "attribute.label": [("functional", "defective")[one] for one in noisy],
            "attribute.probability": [f"{one / 3 + row % 2 / 3:.4f}" for row, one in enumerate(truth)],
            "attribute.cell": ["mono" if row % 5 else "poly" for row in range(200)],
        },
    )  # fmt: skip
    table["attribute.probability"][truth == 1] = "0.6667"
    table["attribute.probability"][3:40:4] = "1.0000"
    found = find_slices(decider_view(table))
    assert found.truth_like == ("label", "probability")
    assert {one.by for one in found.slices} >= {"cell"}
    assert not {"label", "probability"} & {one.by for one in found.slices}


def test_few_labels_do_not_make_an_attribute_say_the_truth() -> None:
    table = make_table(
        6, recorded__score=[0.7, 0.2, 0.2, 0.7, 0.2, 0.7], **labels([1, 1, 1, 0, 0, 0]),
        **{"attribute.tool": ["a"] * 3 + ["b"] * 3},
    )  # fmt: skip
    found = find_slices(decider_view(table))
    assert found.truth_like == ()
    assert {one.by for one in found.slices} >= {"tool"}
