"""Options of `inspection watch`, as far as its settings."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.errors import SettingsError
from stream_processors.watch.settings import WatchSettings


@pytest.fixture
def settings(monkeypatch) -> list[WatchSettings]:
    """What the watch would run with."""
    given: list[WatchSettings] = []
    monkeypatch.setattr("stream_processors.watch.run.run_watch", given.append)
    return given


@pytest.mark.parametrize(("warm_up", "frames", "seconds"), [("10m", 0, 600.0), ("400", 400, 0.0), ("1.5h", 0, 5400.0)])
def test_a_warm_up_is_frames_or_time(settings, warm_up, frames, seconds):
    result = CliRunner().invoke(app, ["watch", "--warm-up", warm_up, "--warm-up-gap", "30m"])
    assert result.exit_code == 0, result.output
    options = settings[0].options
    assert (options.warm_up_frames, options.warm_up_s, options.warm_up_gap_s) == (frames, seconds, 1800.0)


def test_a_number_of_products_is_given_on_and_checked(settings):
    assert CliRunner().invoke(app, ["watch", "--max-products", "64"]).exit_code == 0
    assert settings[0].options.max_products == 64
    result = CliRunner().invoke(app, ["watch", "--max-products", "65"])
    assert isinstance(result.exception, SettingsError)
    assert "1 to 64, not 65" in str(result.exception)
    assert len(settings) == 1
