"""Champion against challenger: McNemar, paired intervals, the gate."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality.label_index import LabelIndex
from replay.analysis.comparison import compare, compare_frames, mcnemar
from replay.analysis.comparison_results import Delta, GoldenComparison
from replay.analysis.promotion import PromotionLimits, check_delta, evaluate
from replay.analysis.table import Table
from replay.past.replayed_frame import ReplayedFrame
from schemas import Action, Verdict
from schemas.errors import SettingsError
from tests.support.quality_records import make_decision, make_label
from tests.support.tables import labels, make_table, population, with_columns
from transport.stored_message import MessagePosition

ACTIONS = ("ACCEPT", "REJECT", "REVIEW")


def pairs(rows: list[tuple[str, str, int, int]], because: str = "random") -> Table:
    """Rows of champion's action, challenger's action, truth, and how many of them."""
    one, two, truth = ([row[at] for row in rows for _ in range(row[3])] for at in range(3))
    return make_table(len(one), variants=("new",), recorded__action=one, new__action=two, **labels(truth, because))


@given(st.integers(0, 25), st.integers(0, 25))
def test_mcnemar_is_that_of_brute_force(one: int, other: int) -> None:
    n = one + other
    if not n:
        assert mcnemar(one, other) is None
        return
    odds = [comb(n, k) for k in range(n + 1)]
    assert mcnemar(one, other) == pytest.approx(min(1.0, sum(each for each in odds if each <= odds[one]) / 2**n))


def test_by_hand() -> None:
    found = compare(pairs([
        ("ACCEPT", "REJECT", 1, 8), ("REJECT", "ACCEPT", 1, 2), ("ACCEPT", "ACCEPT", 1, 5), ("REJECT", "REJECT", 1, 35),
        ("REJECT", "ACCEPT", 0, 10), ("ACCEPT", "REJECT", 0, 4), ("ACCEPT", "ACCEPT", 0, 230),
        ("REVIEW", "REJECT", 0, 6),
    ]))  # fmt: skip
    table = found.escapes
    assert (table.both_right, table.only_champion_errs, table.only_challenger_errs, table.both_err) == (35, 8, 2, 5)
    assert table.p == pytest.approx(mcnemar(8, 2))
    assert (found.escape_rate.champion, found.escape_rate.challenger) == (13 / 50, 7 / 50)
    assert found.escape_rate.delta == pytest.approx(-6 / 50)
    assert (found.overkill.only_champion_errs, found.overkill.only_challenger_errs) == (10, 10)
    assert found.overkill_rate.delta == pytest.approx(0.0)
    assert (found.parts, found.labelled, found.changed_total) == (300, 300, 30)
    assert found.agreement == pytest.approx(0.9)
    assert [one.truth for one in found.changed[:3]] == ["defective"] * 3
    assert [one.challenger_action for one in found.changed[:3]] == ["ACCEPT", "ACCEPT", "REJECT"]


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(ACTIONS), st.integers(-1, 1), st.integers(1, 9)),
                min_size=1, max_size=8), st.sampled_from(["random", "reject"]))  # fmt: skip
def test_deltas_are_those_of_each_decider_and_turn_with_them(rows: Any, because: str) -> None:
    table = pairs(rows, because)
    forth, back = compare(table), compare(table, "new", "recorded")
    for one, other in ((forth.escape_rate, back.escape_rate), (forth.overkill_rate, back.overkill_rate)):
        assert (one.why_not, one.labels) == (other.why_not, other.labels)
        if one.delta is None or one.champion is None or one.challenger is None:
            assert one.why_not.startswith("cannot be estimated: no ")
            continue
        assert one.delta == pytest.approx(one.challenger - one.champion)
        assert one.low is not None
        assert one.high is not None
        assert -1 <= one.low <= one.delta <= one.high <= 1
        assert other.delta == pytest.approx(-one.delta)
    if all(row[2] >= 0 for row in rows):
        bad = [(one, two, count) for one, two, truth, count in rows if truth == 1]
        total = sum(count for *_, count in bad)
        if total:
            assert forth.escape_rate.challenger == pytest.approx(sum(n for _, a, n in bad if a == "ACCEPT") / total)


def drawn(seed: int, count: int, random_share: float) -> tuple[Table, float]:
    """Two deciders whose scores go together, the second one a little better; and the true change of the escape rate."""
    random = np.random.default_rng(seed)
    bad = random.random(count) < 0.1
    common = np.where(bad, 0.62, 0.3) + random.normal(0, 0.1, count)
    one, two = (np.clip(common + random.normal(0, 0.08, count), 0, 1) for _ in range(2))
    two = np.clip(two + np.where(bad, 0.02, 0.0), 0, 1)
    is_random = random.random(count) < random_share
    truth = np.where(is_random | (one >= 0.5), bad, -1)
    because = np.where(is_random, "random", "reject").astype(object)
    table = make_table(count, variants=("new",), recorded__score=one, new__score=two, **labels(truth, list(because)))
    return table, _expected()


def _expected() -> float:
    from scipy.stats import norm

    spread = np.hypot(0.1, 0.08)
    return float(norm.cdf((0.5 - 0.64) / spread) - norm.cdf((0.5 - 0.62) / spread))


@pytest.mark.parametrize(("count", "random_share"), [(2000, 1.0), (5000, 0.1)])
def test_intervals_of_the_change_hold_the_true_one(count: int, random_share: float) -> None:
    hits = 0
    for seed in range(80):
        table, true = drawn(seed, count, random_share)
        found = compare(table).escape_rate
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= true <= found.high
    assert hits >= 71


def test_mcnemar_counts_only_a_fair_sample() -> None:
    # What the line rejects has a label, what it accepts only by chance: among all labels the challenger looks worse.
    rows: Any = [("REJECT", "ACCEPT", 1, 30), ("ACCEPT", "REJECT", 1, 3), ("ACCEPT", "REJECT", -1, 27)]
    table = pairs(rows)
    because = table["sampled_because"].copy()
    because[3:30] = "reject"
    found = compare(Table(table.deciders, {**table.columns, "sampled_because": because})).escapes
    assert (found.only_champion_errs, found.only_challenger_errs) == (3, 30)
    assert (found.tested_only_champion, found.tested_only_challenger) == (3, 3)
    assert found.p == 1.0


def delta(value: float, low: float, high: float, count: int = 500) -> Delta:
    return Delta(champion=0.1, challenger=0.1 + value, delta=value, low=low, high=high, labels=count)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (delta(-0.02, -0.03, -0.01), "pass"),
        (delta(0.0, 0.0, 0.0), "pass"),
        (delta(0.0, 0.0, 0.0, 29), "undecided"),
        (delta(0.005, -0.01, 0.01), "pass"),
        (delta(0.005, -0.01, 0.02), "undecided"),
        (delta(0.02, -0.01, 0.04), "fail"),
        (delta(0.02, -0.01, 0.04, 10), "undecided"),
        (delta(0.2, 0.1, 0.3, 10), "undecided"),
        (delta(0.2, 0.1, 0.3), "fail"),
        (Delta(champion=None, challenger=None, delta=None, low=None, high=None, labels=0, why_not="x"), "undecided"),
    ],
)
def test_a_check(found: Delta, outcome: str) -> None:
    assert check_delta("overkill", found, 0.01, 30, "good").outcome == outcome


def golden(**counts: int) -> GoldenComparison:
    names = [name for name in GoldenComparison.__dataclass_fields__ if name != "changed"]
    return GoldenComparison(changed=(), **{**dict.fromkeys(names, 0), "good": 5, "defective": 5, **counts})


def test_the_gate() -> None:
    better, worse, unsure = delta(-0.01, -0.02, 0.0), delta(0.1, 0.05, 0.2), delta(0.0, -0.1, 0.1)
    for escapes, overkill, failed, samples, decision, code in (
        (better, better, 0, None, "promote", 0),
        (worse, better, 0, None, "do not promote", 1),
        (better, unsure, 0, None, "undecided", 3),
        (worse, unsure, 0, None, "do not promote", 1),
        (better, better, 1, None, "do not promote", 1),
        (better, better, 0, golden(newly_missed=1), "do not promote", 1),
        (better, better, 0, golden(newly_overkilled=9), "promote", 0),
        (None, None, 0, golden(challenger_failed=1), "do not promote", 1),
        (None, None, 0, golden(), "promote", 0),
        (None, None, 0, golden(defective=0), "undecided", 3),
        (better, better, 0, golden(defective=0), "undecided", 3),
        (None, None, 0, golden(good=0), "promote", 0),
        (None, None, 0, None, "undecided", 3),
    ):
        gate = evaluate(escapes, overkill, failed, PromotionLimits(), samples)
        assert (gate.decision, gate.exit_code) == (decision, code)
    lenient = PromotionLimits(max_golden_missed=1, max_golden_overkill=2)
    assert evaluate(None, None, 0, lenient, golden(newly_missed=1, newly_overkilled=2)).decision == "promote"
    assert evaluate(None, None, 0, lenient, golden(newly_overkilled=3)).decision == "do not promote"
    assert evaluate(None, None, 0, lenient, golden(good=0)).decision == "undecided"


@pytest.mark.parametrize(
    "limits", [{"max_escape_increase": float("nan")}, {"max_overkill_increase": 1.1}, {"min_labels": -1}]
)
def test_impossible_limits(limits: Any) -> None:
    with pytest.raises(SettingsError):
        PromotionLimits(**limits)


def test_a_challenger_that_decides_alike_is_promoted_and_one_that_fails_is_not() -> None:
    rows: Any = [("ACCEPT", "ACCEPT", 0, 100), ("REJECT", "REJECT", 1, 40), ("ACCEPT", "ACCEPT", 1, 2)]
    table = pairs(rows)
    assert compare(table).gate.decision == "promote"
    states = table["new.result_state"].copy()
    states[0] = "FAILED"
    found = compare(Table(table.deciders, {**table.columns, "new.result_state": states}))
    assert (found.gate.decision, found.parts, found.only_champion) == ("do not promote", 141, 1)


def test_frames_are_compared_with_their_labels() -> None:
    frames = [
        ReplayedFrame(
            position=MessagePosition("t", 0, number), timestamp_us=1, recorded=make_decision(number, Action.ACCEPT),
            replayed=(make_decision(number, Action.REJECT if number < 3 else Action.ACCEPT, score=0.7),),
        )
        for number in range(6)
    ]  # fmt: skip
    truths = LabelIndex(
        make_label(n, Verdict.NOT_OK if n < 2 else Verdict.OK, sampled_because="random") for n in range(6)
    )
    found = compare_frames(frames, ["new"], truths)
    assert (found.champion, found.challenger) == ("recorded", "new")
    assert (found.escape_rate.champion, found.escape_rate.challenger) == (1.0, 0.0)
    assert (found.overkill_rate.champion, found.overkill_rate.challenger) == (0.0, 0.25)
    assert found.gate.decision == "undecided"
    assert [(one.part_id, one.challenger_score) for one in found.changed] == [("P0", 0.7), ("P1", 0.7), ("P2", 0.7)]


@pytest.mark.parametrize("rows", [[("ACCEPT", "ACCEPT", -1, 5)], [("ACCEPT", "REJECT", 0, 1)]])
def test_too_little_to_compare_is_undecided(rows: Any) -> None:
    found = compare(pairs(rows))
    assert found.gate.exit_code == 3
    assert found.escape_rate.why_not


def test_random_labels_of_accepted_parts_alone_test_nobody() -> None:
    """On accepted parts the champion cannot overkill: the same model with noise would lose to it by any margin."""
    random = np.random.default_rng(4)
    table = population(4, 2_000, random_share=0.3, variants=("new",))
    noisy = np.clip(table["recorded.score"] + random.normal(0, 0.1, 2_000), 0, 1)
    table = with_decider(table, "new", noisy)
    fair = compare(table, challenger="new").overkill
    assert fair.tested_only_champion > 0
    assert fair.p is not None
    because = table["sampled_because"].copy()
    because[(table["recorded.action"] == "REJECT") & (because == "random")] = "reject"
    unfair = compare(with_columns(table, sampled_because=because), challenger="new").overkill
    assert (unfair.p, unfair.tested_only_champion, unfair.tested_only_challenger) == (None, 0, 0)
    assert unfair.only_challenger_errs == fair.only_challenger_errs


def with_decider(table: Table, name: str, score: Any) -> Table:
    """The table with other scores of a decider."""
    rejects = score >= 0.5
    columns = {
        "score": score, "verdict": np.where(rejects, "NOT_OK", "OK"), "action": np.where(rejects, "REJECT", "ACCEPT"),
    }  # fmt: skip
    return with_columns(table, **{f"{name}.{column}": values for column, values in columns.items()})


def test_where_every_part_has_a_label_no_other_escapes_are_imagined() -> None:
    # The challenger accepts 60 more good parts, and no bad one that the champion finds.
    found = compare(pairs([("REJECT", "ACCEPT", 0, 60), ("REJECT", "REJECT", 1, 40), ("ACCEPT", "ACCEPT", 0, 400)]))
    assert (found.escape_rate.delta, found.escape_rate.high) == (0.0, 0.0)
    assert found.gate.decision == "promote"
    # With a label on half of them only, some of the others may be bad.
    found = compare(pairs([
        ("REJECT", "ACCEPT", 0, 30), ("REJECT", "ACCEPT", -1, 30), ("REJECT", "REJECT", 1, 40),
        ("ACCEPT", "ACCEPT", 0, 400),
    ]))  # fmt: skip
    assert found.escape_rate.delta == 0.0
    assert found.escape_rate.high is not None
    assert found.escape_rate.high > 0.01
    assert found.gate.decision == "undecided"
