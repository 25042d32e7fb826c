"""The command over topics that were cut, ranges with a drain in them, edge reports and spools."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from infra.cli.operations.audit import AuditFailed
from producers.spool import Spool, SpooledFrame, SpoolOptions
from schemas import Frame, KafkaSettings
from schemas.codec import encode
from tests.support.audited_lines import decision, frame, hour_ago_ms, publish, run
from transport.topic_ranges import watermarks

pytestmark = pytest.mark.broker

NOW_MS = hour_ago_ms()


def put(line: KafkaSettings, frames: list[Frame], at_ms: int = NOW_MS, step_ms: int = 0) -> None:
    """Frames with their decisions, so many ms apart."""
    times = [at_ms + step_ms * number for number in range(len(frames))]
    publish(line, [(line.frames, b"s/c", encode(one), at) for one, at in zip(frames, times, strict=True)])
    publish(line, [(line.decisions, b"s/c", encode(decision(one)), times[-1]) for one in frames])


def report(path: Path, *rows: dict[str, object]) -> str:
    path.write_text(json.dumps({"cameras": [{"dropped": 0, "failed": 0, "spooled": 0, **row} for row in rows]}))
    return str(path)


def test_frames_lost_at_the_end_are_a_fault(line: KafkaSettings, tmp_path: Path) -> None:
    put(line, [frame(0)])
    assert run(line).exception is None
    first = report(tmp_path / "1.json", {"name": "s/c", "captured": 100, "published": 100, "started_at_us": 1})
    result = run(line, "--edge-report", first)
    assert str(result.exception) == "99 unexplained gaps"
    assert "s/c: 100 captured, 1 frames, 99 gaps" in result.stdout
    gone = report(tmp_path / "2.json", {"name": "s/d", "captured": 7, "published": 7, "started_at_us": 1})
    assert str(run(line, "--edge-report", gone).exception) == "7 unexplained gaps"
    # Two starts of the camera, each with its report; the second has dropped what the topic does not have.
    put(line, [frame(number, started=2) for number in (0, 1, 3)])
    one = report(tmp_path / "3.json", {"name": "s/c", "captured": 1, "published": 1, "started_at_us": 1})
    row = {"name": "s/c", "captured": 5, "published": 3, "started_at_us": 2}
    two = report(tmp_path / "4.json", {**row, "dropped": 2})
    assert run(line, "--edge-report", one, "--edge-report", two, "--edge-report", two).exception is None
    wrong = report(tmp_path / "5.json", {**row, "published": 0, "captured": 502, "dropped": 502})
    assert str(run(line, "--edge-report", one, "--edge-report", wrong).exception) == "3 counted drops without a gap"


@pytest.mark.long
def test_drops_of_a_spool_explain_gaps_and_are_not_counted_twice(line: KafkaSettings, tmp_path: Path) -> None:
    put(line, [frame(number) for number in (0, 1, 2)])
    spools = tmp_path / "spool"
    with closing(Spool(spools / line.prefix / "s.c.spool", SpoolOptions(sync="normal"))) as spool:
        for sequence in (3, 4):
            spool.append(SpooledFrame(1, sequence, "{}", b"x"))
        for sequence in range(5, 9):
            spool.record_loss((1, sequence))
    result = run(line, "--spool-dir", str(spools))
    assert result.exception is None
    assert "s/c: 9 captured, 3 frames, 6 gaps, 4 drops, 2 waiting" in result.stdout
    row = {"name": "s/c", "captured": 9, "published": 3, "dropped": 4, "spooled": 2, "started_at_us": 1}
    both = ["--spool-dir", str(spools), "--edge-report", report(tmp_path / "e.json", row)]
    assert "9 captured, 3 frames, 6 gaps, 4 drops, 2 waiting" in run(line, *both).stdout
    with closing(Spool(spools / line.prefix / "s.c.spool", SpoolOptions(sync="normal"))) as spool:
        spool.delete([(1, 3)], drained=True)  # and Kafka has it not
    assert str(run(line, *both).exception) == "1 unexplained gaps"
    (spools / line.prefix / "s.d.spool").write_bytes(b"garbage" * 1000)
    assert "1 unreadable spools" in str(run(line, "--spool-dir", str(spools)).exception)


@pytest.mark.long
def test_a_topic_that_retention_has_cut_is_no_fault(line: KafkaSettings, tmp_path: Path) -> None:
    put(line, [frame(number) for number in range(10)], step_ms=1000)
    (partition,) = [number for number, (_, high) in watermarks(line, line.frames).items() if high]
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    for deleted in admin.delete_records([TopicPartition(line.frames, partition, 4)]).values():
        deleted.result(20)
    result = run(line)
    assert result.exception is None
    assert "s/c: 6 captured, 6 frames, 0 gaps" in result.stdout
    # A start that began after the cut is whole again: its first frames are missed.
    started = (NOW_MS + 20_000) * 1000
    put(line, [frame(number, started=started) for number in (2, 3)], at_ms=NOW_MS + 20_000)
    assert str(run(line).exception) == "2 unexplained gaps"
    row = {"name": "s/c", "captured": 10, "published": 10, "started_at_us": 1}
    assert str(run(line, "--edge-report", report(tmp_path / "e.json", row)).exception) == "2 unexplained gaps"


@pytest.mark.long
def test_a_range_with_a_drain_at_its_edge_has_no_gaps(line: KafkaSettings) -> None:
    # Two live frames, then one of the spool and a live one in turn.
    put(line, [frame(number) for number in (0, 5, 1, 6, 2, 7, 3, 4)], step_ms=1000)
    assert run(line).exception is None

    def between(first_s: int, last_s: int, *more: str) -> str:
        times = [time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(NOW_MS // 1000 + s)) for s in (first_s, last_s)]
        result = run(line, "--from", times[0], "--to", times[1], *more)
        assert result.exception is None or isinstance(result.exception, AuditFailed)
        return f"{result.stdout} {result.exception}"

    assert "s/c: 6 captured, 3 frames, 0 gaps" in between(3, 6)
    assert "3 unexplained gaps" in between(3, 6, "--look-around", "0s")
