"""Label values that come from names in messages are bounded in number and in length."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.metric_labels import LONGEST_NAME, MOST_NAMES, OTHER, LabelNames, label_text


def test_names_beyond_the_bound_share_one_value() -> None:
    names = LabelNames()
    values = [names.of(f"station-{number}/top") for number in range(20_000)]
    assert values[:MOST_NAMES] == [f"station-{number}/top" for number in range(MOST_NAMES)]
    assert set(values[MOST_NAMES:]) == {OTHER}
    assert names.of("station-7/top") == "station-7/top"


def test_threads_do_not_exceed_the_bound() -> None:
    names = LabelNames(most=10)
    with ThreadPoolExecutor(8) as pool:
        values = set(pool.map(lambda number: names.of(f"c{number % 500}"), range(20_000)))
    assert len(values - {OTHER}) == 10


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("press/top", "press/top"),
        ("Prüfer/oben", "Prüfer/oben"),
        ("a\x1b[2J\nb\x00", "a\\x1b[2J\\nb\\x00"),
        ("lone \udcfc", "lone \\udcfc"),
        ("\u202egnp", "\\u202egnp"),
    ],
)
def test_names_are_shown_safely(name: str, label: str) -> None:
    assert LabelNames().of(name) == label


@given(st.text(st.characters(exclude_categories=()), max_size=400))
def test_a_label_is_short_printable_and_can_be_encoded(name: str) -> None:
    label = label_text(name)
    assert len(label) <= LONGEST_NAME
    assert label.isprintable()
    label.encode()
