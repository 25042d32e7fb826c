"""`inspection drift` as a person and as a program use it."""

from __future__ import annotations

import dataclasses
import json
import math
import time

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from infra.cli.operations.drift_text import episode_row, lines_of
from infra.cli.root import app
from infra.cli.shared.terminal_text import echo_lines
from monitoring.drift.episodes import NoSuchEpisode, build_episodes
from schemas import DriftEvent, EpisodeState, InspectionError, KafkaSettings, SignalChange
from schemas.codec import encode
from schemas.errors import BrokerUnavailable, SettingsError
from tests.support.records import DRIFT_EVENT

HOUR_US = 3_600_000_000


def event(episode: str, state: EpisodeState = EpisodeState.OPENED, ago_h: float = 1.0, **changes: object) -> DriftEvent:
    at_us = time.time_ns() // 1000 - round(ago_h * HOUR_US)
    closed = {"closed_at_us": at_us, "closed_because": "recovered"} if state is EpisodeState.CLOSED else {}
    return dataclasses.replace(
        DRIFT_EVENT, episode_id=episode, event_id=f"{episode}-{state}", state=state, emitted_at_us=at_us,
        detected_at_us=at_us, **{**closed, **changes},
    )  # fmt: skip


def run(kafka: KafkaSettings, command: str, *arguments: str) -> Result:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    return CliRunner().invoke(app, ["drift", command, *options, *arguments])


@pytest.fixture
def episodes(line: KafkaSettings) -> KafkaSettings:
    """One open, one closed two days ago on another camera, one of a replay; and garbage."""
    values = [
        encode(event("abc1")),
        encode(event("abd2", camera_id="side", ago_h=50)),
        encode(event("abd2", EpisodeState.CLOSED, camera_id="side", ago_h=49)),
        encode(event("sim", is_simulated=True)),
        b"garbage",
    ]
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for value in values:
        producer.produce(line.drift, value)
    assert producer.flush(20) == 0
    return line


@pytest.mark.long
@pytest.mark.broker
def test_listed(episodes: KafkaSettings) -> None:
    def listed(*options: str) -> list[str]:
        return [row.split()[0] for row in run(episodes, "list", *options).stdout.splitlines()]

    done = run(episodes, "list")
    first, second = done.stdout.splitlines()
    assert first.startswith("abc1  20")
    assert first.endswith("Z  open  press/top  data sudden: brightness fell by 0.8 standard deviations")
    assert "  closed  press/side  " in second
    assert done.stderr == f"1 messages of {episodes.drift} are no drift events\n"
    assert listed("--open") == ["abc1"]
    assert listed("--camera", "press/side") == listed("--camera", "side") == ["abd2"]
    assert listed("--last", "48h") == ["abc1"]
    assert listed("--last", "10m") == ["abc1"]  # it goes on
    assert listed("--last", "3d") == ["abc1", "abd2"]
    assert listed("--simulated") == ["sim"]
    assert run(episodes, "list", "--camera", "none").stdout == "no episodes of that kind or time\n"
    report = json.loads(run(episodes, "list", "--json").stdout)
    assert report["unreadable"] == 1
    assert [(row["episode_id"], row["is_open"], row["closed_because"]) for row in report["episodes"]] == [
        ("abc1", True, ""),
        ("abd2", False, "recovered"),
    ]
    assert "duration" in str(run(episodes, "list", "--last", "soon").exception)


@pytest.mark.broker
def test_shown_acknowledged_and_shown_again(episodes: KafkaSettings) -> None:
    assert "acknowledged" not in run(episodes, "show", "abc").stdout
    done = run(episodes, "ack", "abc", "--note", "lamp\nreplaced", "--by", "eva")
    assert done.stdout == "episode abc1, which goes on: acknowledged by eva: lamp replaced\n"
    text = run(episodes, "show", "abc1").stdout
    assert text.startswith("episode abc1: open, acknowledged\ncamera: press/top, line line-1\ndrift: data, sudden\n")
    assert "  brightness: 152 -> 129 (-0.80 standard deviations, page-hinkley)\n" in text
    assert "frames before: a b\nframes after: c\nhistory:\n" in text
    *_, opened, said = text.splitlines()
    assert "Z  opened  brightness fell" in opened
    assert said.endswith("Z  acknowledged  by eva: lamp replaced")
    row = json.loads(run(episodes, "show", "abc1", "--json").stdout)
    assert (row["is_open"], row["acknowledged_by"], row["note"]) == (True, "eva", "lamp\nreplaced")
    assert [said["state"] for said in row["history"]] == ["OPENED", "ACKNOWLEDGED"]
    # One that is over takes a note as well.
    row = json.loads(run(episodes, "ack", "abd", "--note", "dust", "--by", "bob", "--json").stdout)
    assert (row["episode_id"], row["is_open"], row["acknowledged_by"]) == ("abd2", False, "bob")
    assert "  closed, acknowledged  press/side  " in run(episodes, "list").stdout


@pytest.mark.broker
@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (["show", "ab"], NoSuchEpisode, "2 episodes begin with 'ab': abc1, abd2"),
        (["show", "zz"], NoSuchEpisode, "no episode 'zz'"),
        (["show", "sim"], NoSuchEpisode, "no episode 'sim'"),
        (["ack", "sim", "--note", "n"], NoSuchEpisode, "no episode 'sim'"),
        (["ack", "abc", "--note", " "], SettingsError, "has a note"),
        (["ack", "abc", "--note", "n", "--by", ""], SettingsError, "names who"),
    ],
)
def test_a_mistake_is_one_line(episodes: KafkaSettings, arguments: list[str], kind: type, says: str) -> None:
    error = run(episodes, *arguments).exception
    assert isinstance(error, kind)
    assert isinstance(error, InspectionError)
    assert says in str(error)
    assert "\n" not in str(error)


def test_no_broker_is_one_line() -> None:
    error = run(KafkaSettings("127.0.0.1:1"), "list").exception
    assert isinstance(error, BrokerUnavailable)


def test_what_others_write_moves_no_cursor_and_breaks_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    change = SignalChange("noise", "adwin", math.nan, math.inf, -math.inf)
    [episode] = build_episodes([event("e", reason="a\nb\x1b[2J", signals=(change,), cause="frozen", line="\x1b[1m")])
    echo_lines(lines_of(episode))
    text = capsys.readouterr().out
    assert "reason: a b\\x1b[2J\n" in text
    assert "\x1b" not in text
    row = json.loads(json.dumps(episode_row(episode), allow_nan=False))
    assert row["signals"] == [
        {"signal": "noise", "detector": "adwin", "before": None, "after": None, "magnitude_sd": None}
    ]
