"""Refusal of local times that the clocks show twice or never, wherever a person names a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.cli.shared.time_options import time_range
from infra.cli.shared.times import utc_us
from operations.labels.csv_file import LabelFileError, labels_from_csv
from schemas.errors import SettingsError
from schemas.moments import time_text


@pytest.fixture(params=["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


TWICE = {
    "Europe/Berlin": ("2026-10-25T02:15", "2026-10-25T02:15+01:00"),
    "America/New_York": ("2026-11-01T01:30", "2026-11-01T01:30-05:00"),
    # Half an hour only.
    "Australia/Lord_Howe": ("2026-04-05T01:45", "2026-04-05T01:45+10:30"),
}
NEVER = {
    "Europe/Berlin": "2026-03-29T02:30",
    "America/New_York": "2026-03-08T02:30",
    "Australia/Lord_Howe": "2026-10-04T02:15",
}


def test_a_time_that_comes_twice_or_never_is_refused(zone: str) -> None:
    twice, with_offset = TWICE[zone]
    with pytest.raises(SettingsError, match=r"comes twice.*: say the offset, as in ") as caught:
        utc_us(twice, "--from")
    assert with_offset in str(caught.value)
    with pytest.raises(SettingsError, match=r"does not exist.*: say the offset"):
        utc_us(NEVER[zone], "--to")
    assert utc_us(with_offset, "--from") > 0


def test_other_local_times_are_taken(zone: str) -> None:
    for text in ("2026-10-24T02:15", "2026-06-01T00:00", "2026-12-31T23:59:59.999999", "2026-07-01"):
        local = utc_us(text, "--from")
        assert abs(local - utc_us(f"{text if 'T' in text else text + 'T00:00'}+00:00", "--from")) <= 14 * 3_600_000_000


def test_an_hour_around_the_change_is_no_two_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        with pytest.raises(SettingsError, match=r"--from '2026-10-25T02:00'"):
            time_range("2026-10-25T02:00", "2026-10-25T03:00", None)
        within = time_range("2026-10-25T02:00+01:00", "2026-10-25T03:00", None)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert within.from_us is not None
    assert within.to_us is not None
    assert within.to_us - within.from_us == 3_600_000_000


def test_a_label_file_says_the_offset(zone: str, tmp_path: Path) -> None:
    twice, with_offset = TWICE[zone]
    file = tmp_path / "labels.csv"
    head = "part_id,station,camera_id,truth,labelled_at\n"
    for text in (twice, NEVER[zone]):
        file.write_text(f"{head}P1,press,top,good,{text}\n", encoding="utf-8")
        with pytest.raises(LabelFileError, match=r"line 2: labelled_at .*: say the offset"):
            list(labels_from_csv(file, labelled_by="eva"))
    file.write_text(f"{head}P1,press,top,good,{with_offset}\n", encoding="utf-8")
    [label] = labels_from_csv(file, labelled_by="eva")
    assert label.labelled_at_us == utc_us(with_offset, "--from")


@pytest.mark.parametrize(
    ("at_us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59Z"),
        (253_402_300_800_000_000, "no time"),
        (-62_135_596_800_000_001, "no time"),
        (2**62, "no time"),
        (-(2**63), "no time"),
        (10**400, "no time"),
        (float("inf"), "no time"),
        (float("nan"), "no time"),
        (None, "no time"),
    ],
)
def test_any_number_has_a_text(at_us: float | None, text: str) -> None:
    assert time_text(at_us) == text


@pytest.mark.parametrize("text", ["0001-01-01T00:00", "9999-12-31T23:59:59", "10000-01-01", "now", "", "2026-13-01"])
def test_times_at_the_edge_are_one_line(zone: str, text: str) -> None:
    # Accepted or refused by the zone, but never with another error.
    with contextlib.suppress(SettingsError):
        assert isinstance(utc_us(text, "--from"), int)


@pytest.mark.parametrize("times", [("", None), (None, ""), ("2026-11-24", "")])
def test_an_empty_time_selects_not_everything(times: tuple[str | None, str | None]) -> None:
    with pytest.raises(SettingsError, match=r"--(from|to) '': a time as in"):
        time_range(*times, None)
