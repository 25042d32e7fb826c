"""The options that say which frames are meant."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from infra.cli.shared.selection_options import SelectionArgs, takes_selection
from replay.past.selection import Selection, TimeBasis
from schemas.errors import SettingsError

SEEN: list[tuple[SelectionArgs, str | None]] = []


def look(chosen: SelectionArgs, what: Annotated[str | None, typer.Argument(help="Anything.")] = None) -> None:
    """Look at frames."""
    SEEN.append((chosen, what))


app = typer.Typer()
app.command()(takes_selection(look))


def chosen(*arguments: str) -> SelectionArgs:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None:
        raise result.exception
    return SEEN.pop()[0]


def test_without_options_everything_is_meant() -> None:
    found = chosen()
    assert found.selection == Selection()
    assert (found.source.topics, found.source.archive, found.source.max_bytes_s) == (True, None, None)


def test_a_command_keeps_its_own_parameters() -> None:
    assert CliRunner().invoke(app, ["gold", "--lot", "L7"]).exit_code == 0
    assert SEEN.pop()[1] == "gold"
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).stdout
    assert "Look at frames." in shown
    assert all(option in shown for option in ("--episode", "--offsets", "--archive-only", "--max-mib-s"))


@pytest.mark.parametrize(
    ("arguments", "selection"),
    [
        (["--from", "2026-11-20T06:00Z", "--to", "2026-11-20T07:00Z"], {"from_us": 1_795_154_400_000_000,
                                                                        "to_us": 1_795_158_000_000_000}),
        (["--last", "500"], {"last": 500}),
        (["--camera", "a/b", "--camera", "c/d", "--lot", "L"], {"cameras": ("a/b", "c/d"), "lots": ("L",)}),
        (["--verdict", "reject", "--verdict", "not-decidable"], {"decided_as": ("REJECT", "NOT_DECIDABLE")}),
        (["--offsets", "0:5-9", "--offsets", "3:0-0"], {"offsets": {0: (5, 9), 3: (0, 0)}}),
        (["--part", "P", "--frame", "F", "--episode", "e"], {"parts": ("P",), "frames": ("F",), "episode": "e"}),
        (["--time", "captured", "--late-by", "15m"], {"time_basis": TimeBasis.CAPTURED, "late_by_us": 900_000_000}),
    ],
)  # fmt: skip
def test_each_option_says_what_is_meant(arguments: list[str], selection: dict[str, Any]) -> None:
    assert chosen(*arguments).selection == Selection(**selection)


def test_the_last_hours_end_now() -> None:
    begin_us = chosen("--last", "2h").selection.from_us
    assert begin_us is not None
    assert abs(time.time_ns() // 1000 - 7_200_000_000 - begin_us) < 5_000_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "--from 'yesterday': a time as in"),
        (["--from", "2026-11-20", "--to", "2026-11-20"], "ends before it begins"),
        (["--last", "8 hours"], "--last '8 hours': a number of frames as in 400, or a duration"),
        (["--last", "9" * 30], "a number of frames as in 400"),
        (["--last", ""], "--last '': a number of frames"),
        (["--from", ""], "--from '': a time as in"),
        (["--to", ""], "--to '': a time as in"),
        (["--archive", ""], "archive: an empty address; name a directory or s3://bucket/path"),
        (["--last", "8h", "--from", "2026-11-20"], "--last 8h stands alone"),
        (["--last", "0"], "at least 1"),
        (["--last", "0s", "--to", "2026-11-20"], "--last 8h stands alone"),
        (["--verdict", "maybe"], "verdict 'MAYBE': one of OK, NOT_OK"),
        (["--offsets", "0:9"], "--offsets '0:9': as in"),
        (["--offsets", "0:9-5"], "offsets 9 to 5 of partition 0"),
        (["--offsets", "0:1-2", "--offsets", "0:3-4"], "partition 0 is there twice"),
        (["--offsets", "0:1-99999999999999999999"], "as in 0:1200-1500"),
        (["--late-by", "soon"], "--late-by 'soon': a duration"),
        (["--archive-only"], "--archive-only needs --archive"),
        (["--selection", "none.json"], "selection none.json: No such file"),
        (["--selection", "none.json", "--lot", "L"], "--selection stands alone"),
        (["--prefix", "no/such"], "topic prefix 'no/such'"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(*arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_saved_selection_is_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "night.json"
    first = chosen("--last", "8h", "--verdict", "REJECT", "--save-selection", str(path)).selection
    assert chosen("--selection", str(path)).selection == first


def test_the_source_is_where_the_options_say() -> None:
    found = chosen("--bootstrap-servers", "k:9", "--prefix", "plant7", "--max-mib-s", "2")
    assert found.source.kafka.frames == "plant7.frames"
    assert found.source.max_bytes_s == 2 * 1024 * 1024
