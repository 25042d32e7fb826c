"""Frames that a spool refuses: each counted once, on disk, in the metrics and in the log."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from infra.demo.processes import inspection_command
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from producers.spool import (
    Spool,
    SpooledFrame,
    SpoolFull,
    SpoolOptions,
    SpoolUnwritable,
    read_counts,
    read_starts,
    spool_path,
)
from schemas.clock import ManualClock
from transport.limited_log import LimitedLog

MIB = 1024 * 1024
IDENTITY = CameraIdentity("line-1", "press", "top")
NOISE = np.random.default_rng(3).integers(0, 256, (160, 160), np.uint8)
OPTIONS = SpoolOptions(sync="normal", max_bytes=MIB, when_full="drop-newest")


def test_what_is_refused_is_counted_and_survives(tmp_path: Path) -> None:
    path = tmp_path / "inspection" / "press.top.spool"
    with closing(Spool(path, OPTIONS)) as spool:
        spool.append(SpooledFrame(7, 0, "{}", bytes(MIB - 100)))
        with pytest.raises(SpoolFull):
            spool.append(SpooledFrame(7, 1, "{}", bytes(200)))
        assert spool.counts.dropped == 0  # not given up yet: it may be on its way to Kafka
        spool.record_loss((7, 1))
        spool.record_loss((7, 2))
        counts = spool.counts
    assert (counts.frames, counts.appended, counts.dropped, counts.refused) == (1, 1, 2, 2)
    assert read_counts(path) == counts
    (start,) = read_starts(path)
    assert (start.started_at_us, start.lost, start.last_sequence, start.waiting_sequences) == (7, 2, 2, frozenset({0}))


def dropped(path: Path) -> int:
    try:
        return read_counts(path).dropped
    except SpoolUnwritable:  # not made yet
        return 0


@pytest.mark.faults
def test_drops_outlive_a_killed_producer(tmp_path: Path, fault_row: Callable[..., None]) -> None:
    arguments = ["produce", "--camera", "synthetic", "--fps", "200", "--station", "press", "--camera-id", "top"]
    arguments += ["--spool-mib", "1", "--spool-when-full", "drop-newest", "--spool-sync", "normal"]
    arguments += ["--spool-dir", str(tmp_path), "--bootstrap-servers", "127.0.0.1:9"]
    log = tmp_path / "log"
    with log.open("wb") as err, subprocess.Popen(inspection_command(*arguments), stderr=err) as process:
        path = spool_path(tmp_path, "inspection", IDENTITY)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and dropped(path) < 100:
            time.sleep(0.2)
        process.kill()
    counts = read_counts(path)
    said = log.read_text()
    skipped = sum(int(number) for number in re.findall(r"dropped the new frame \(and (\d+) more", said))
    in_log = said.count("dropped the new frame") + skipped
    assert counts.dropped == counts.refused >= 100
    assert in_log <= counts.dropped
    status = CliRunner().invoke(app, ["spool", "status", "--spool-dir", str(tmp_path)])
    assert f"{counts.dropped} dropped ({counts.refused} never got in)" in status.stdout
    (start,) = read_starts(path)
    # All that was captured until the last drop, but what was in memory only.
    assert 0 <= start.last_sequence + 1 - start.lost - len(start.waiting_sequences) <= 64 + 32
    fault_row("spool full, producer kill -9: drops on disk", frames=start.last_sequence + 1, drops=counts.dropped)


def test_the_log_counts_each_dropped_frame_once(
    mock_kafka: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mock = mock_kafka()
    spool = replace(OPTIONS, directory=tmp_path, unreachable_after_ms=100)
    options = PublisherOptions(encode="png", in_flight_frames=64)
    with caplog.at_level(logging.WARNING), FramePublisher(mock.settings, IDENTITY, options, spool=spool) as publisher:
        mock.stop()
        for _ in range(200):
            publisher.publish(Capture(image=NOISE))
            time.sleep(0.005)
        time.sleep(1.5)
    stats = publisher.stats()
    said = [record.getMessage() for record in caplog.records if "dropped the new frame" in record.getMessage()]
    more = sum(int(number) for line in said for number in re.findall(r"\((?:and )?(\d+) more", line))
    lines = sum("more since the last line)" not in line or "(and " in line for line in said)
    assert stats.dropped > 50
    assert lines + more == stats.dropped == read_counts(spool_path(tmp_path, "inspection", IDENTITY)).dropped


def test_a_small_spool_keeps_the_newest_too(mock_kafka: Callable, tmp_path: Path) -> None:
    mock = mock_kafka()
    spool = replace(OPTIONS, directory=tmp_path, unreachable_after_ms=100, when_full="drop-oldest")
    # 64 frames of 25 kB may be under way, and the spool holds 40.
    options = PublisherOptions(encode="png", in_flight_frames=64)
    with FramePublisher(mock.settings, IDENTITY, options, spool=spool) as publisher:
        mock.stop()
        for _ in range(200):
            publisher.publish(Capture(image=NOISE))
            time.sleep(0.002)
        time.sleep(0.5)
    (start,) = read_starts(spool_path(tmp_path, "inspection", IDENTITY))
    newest = next(age for age in range(200) if 199 - age not in start.waiting_sequences)
    assert 35 <= len(start.waiting_sequences) <= 41
    assert newest >= 18, sorted(start.waiting_sequences)


def test_what_can_never_be_sent_is_in_the_counts_of_the_spool(mock_kafka: Callable, tmp_path: Path) -> None:
    spool = replace(OPTIONS, directory=tmp_path)
    with FramePublisher(mock_kafka().settings, IDENTITY, spool=spool) as publisher:
        publisher.publish(Capture(image=NOISE))
        publisher.publish(Capture(image=np.zeros((1, 70_000), np.uint8)))
        publisher.publish(Capture(encoded=bytes(18 * MIB)))
    (start,) = read_starts(spool_path(tmp_path, "inspection", IDENTITY))
    assert (start.started_at_us, start.lost, start.last_sequence) == (publisher.started_at_us, 2, 2)


def test_lines_left_out_are_said_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    limited = LimitedLog(logging.getLogger("test"), clock=ManualClock())
    for _ in range(3):
        limited.warning("full", "dropped")
    limited.flush()
    limited.flush()
    assert [record.getMessage() for record in caplog.records] == ["dropped", "dropped (2 more since the last line)"]


def test_one_damaged_spool_does_not_hide_the_others(tmp_path: Path) -> None:
    for name in ("a", "c"):
        with closing(Spool(tmp_path / "inspection" / f"press.{name}.spool", OPTIONS)):
            pass
    (tmp_path / "inspection" / "press.b.spool").write_bytes(b"garbage" * 1000)
    for command in ("status", "drain"):
        result = CliRunner().invoke(app, ["spool", command, "--spool-dir", str(tmp_path)])
        lines = result.stdout.splitlines()
        assert [line.split(":")[0] for line in lines] == [
            "inspection press/a",
            "inspection press/b",
            "inspection press/c",
        ]
        assert "cannot be read" in lines[1]
        assert result.exit_code == 1
        assert "1 unreadable spool" in str(result.exception)
        result = CliRunner().invoke(app, ["spool", command, "--json", "--spool-dir", str(tmp_path)])
        errors = [row["error"] for row in json.loads(result.stdout)["spools"]]
        assert [error is None for error in errors] == [True, False, True]


def test_the_name_of_a_camera_is_no_markup(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "inspection" / "[.b].spool", OPTIONS)):
        pass
    result = CliRunner().invoke(app, ["spool", "drain", "--spool-dir", str(tmp_path)])
    assert result.exit_code == 0, result.exception
    assert "[/b]: 0 sent, 0 left" in result.stdout
