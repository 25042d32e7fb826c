"""What the report tells a person to do: no more than the labels support."""

from __future__ import annotations

import numpy as np
import pytest

from replay.analysis import analyse
from replay.analysis.table import Table
from replay.report import plots as figures
from replay.report.advice import Advice, advise
from replay.report.words import visible
from tests.support.tables import labels, make_table, population


def threshold_advice(table: Table, **more: float) -> Advice:
    return next(one for one in advise(analyse(table, **more)) if "threshold" in one.title)


def test_a_threshold_is_set_only_where_labels_show_a_saving() -> None:
    sure = threshold_advice(population(1, 4_000, threshold=0.8))
    assert sure.kind == "act"
    assert sure.title.startswith("Set the threshold to ")
    assert "In 1,000 parts it saves what " in sure.text
    few = threshold_advice(population(1, 40, threshold=0.8))
    assert few.kind == "know"
    assert few.title.startswith("A threshold of ")
    assert "not sure enough" in few.title


def test_a_threshold_that_rejects_most_good_parts_is_no_advice() -> None:
    table = population(3, 4_000, good=(2.0, 2.2), bad=(2.2, 2.0), threshold=0.6)
    advice = threshold_advice(table, cost_ratio=9.0)
    assert (advice.kind, advice.title) == ("know", "No threshold is of use for this cost ratio")
    assert any(
        "rejects most good parts" in warning for warning in analyse(table, cost_ratio=9.0).recommendation.warnings
    )


def test_the_best_of_several_thresholds_is_no_dash() -> None:
    score = np.array([0.1, 0.2, 0.3, 0.9, 0.95] * 20)
    table = make_table(100, recorded__score=score, recorded__threshold=[0.5, 0.6] * 50, **labels(score > 0.5))
    advice = threshold_advice(table)
    assert "-" not in advice.title
    assert "None is cheaper" in advice.text


def test_review_is_said_where_rates_ignore_it() -> None:
    table = population(1, 2_000, threshold=0.7)
    score = table["recorded.score"]
    table["recorded.action"][(score > 0.6) & (score < 0.75)] = "REVIEW"
    found = analyse(table).recommendation
    assert found.ignores_review
    assert not found.is_supported
    assert "if the score alone decided" in threshold_advice(table).text


def test_nothing_was_tested_and_nothing_is_said_of_slices() -> None:
    assert not [one for one in advise(analyse(make_table(3))) if "slice" in one.title]


def test_accepted_parts_do_not_lack_the_shed_ones_on_the_time_line() -> None:
    states = ["COMPLETED"] * 6 + ["ABORTED"] * 4
    table = make_table(10, recorded__result_state=states, recorded__is_late=[0] * 5 + [1] * 5,
                       captured_at_us=1_795_500_000_000_000)  # fmt: skip
    line = analyse(table).time_line
    assert line is not None
    drawn = {trace["name"]: sum(trace["y"]) for trace in figures.time_line(line)["data"]}
    assert drawn == {"accepted": 6, "not inspected": 4, "late": 1}


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\x00", "\x1b", "\u200b", "\ud800"])
def test_a_name_cannot_turn_the_text_around(character: str) -> None:
    assert character not in visible(f"a{character}b")
    assert visible("Prüfer 1\u202f000\n\t") == "Prüfer 1\u202f000\n\t"
