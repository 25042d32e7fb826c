"""The books of a line: they close when they should, and only then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.operations.audit import AuditFailed
from infra.cli.root import app
from operations import Audit
from operations.audit.counts import total
from operations.audit.reconcile import EdgeStart
from operations.audit.topics import audit_topics
from replay import TimeRange, read_topic
from schemas import Action, DeadLetter, Frame, KafkaSettings, ResultState, Verdict
from schemas.codec import encode
from schemas.errors import BrokerUnavailable, SettingsError, TopicMissing
from tests.support.audited_lines import decision, frame, hour_ago_ms, publish, run
from transport.stored_message import MessagePosition, StoredMessage


def letter(of: Frame | None, offset: int = 0, topic: str = "t") -> DeadLetter:
    return DeadLetter(
        source_topic=topic, source_partition=0, source_offset=offset, kind="unreadable-image", reason="",
        failed_at_us=0, worker="w", frame_id=None if of is None else of.frame_id,
    )  # fmt: skip


ABORTED = {"verdict": Verdict.NOT_DECIDABLE, "action": Action.REJECT, "result_state": ResultState.ABORTED}
FAILED = {"verdict": Verdict.NOT_DECIDABLE, "action": Action.REJECT, "result_state": ResultState.FAILED}
#: After the deadline of `frame(0)`.
LATE_US = 500_001
REJECTED = {"verdict": Verdict.NOT_OK, "action": Action.REJECT}


@pytest.mark.parametrize(
    ("name", "fill", "expected"),
    [
        ("decided", lambda a, f: a.decision(decision(f)), {"decided": 1}),
        ("said twice", lambda a, f: [a.decision(decision(f)) for _ in "ab"], {"decided": 1, "duplicates": 1}),
        (
            "answered by two groups",
            lambda a, f: [a.decision(decision(f), group) for group in (b"1", b"2")],
            {"decided": 1, "redundant": 1},
        ),
        (
            "said twice by one of two groups",
            lambda a, f: [a.decision(decision(f), group) for group in (b"1", b"2", b"2")],
            {"decided": 1, "redundant": 1, "duplicates": 1},
        ),
        (
            "shed by one group, inspected by the other",
            lambda a, f: [a.decision(decision(f, decision_id="x", **ABORTED), b"1"), a.decision(decision(f), b"2")],
            {"decided": 1, "redundant": 1},
        ),
        (
            "two groups that differ",
            lambda a, f: [a.decision(decision(f), b"1"), a.decision(decision(f, decision_id="x", **REJECTED), b"2")],
            {"decided": 1, "redundant": 1, "conflicts": 1},
        ),
        (
            "shed and inspected by one group, inspected by the other",
            lambda a, f: [
                a.decision(decision(f, decision_id="x", **ABORTED), b"1"),
                a.decision(decision(f), b"2"),
                a.decision(decision(f), b"1"),
            ],
            {"decided": 1, "redundant": 1, "duplicates": 1, "superseded": 1},
        ),
        (
            "invented groups",
            lambda a, f: [a.decision(decision(f), str(number).encode()) for number in range(20)],
            {"decided": 1, "redundant": 7, "duplicates": 12},
        ),
        ("forgotten", lambda a, f: None, {"unaccounted": 1}),
        ("dead letter only", lambda a, f: a.dead_letter(letter(f)), {"dead_lettered": 1}),
        ("shed", lambda a, f: a.decision(decision(f, **ABORTED)), {"decided": 1, "aborted": 1}),
        (
            "one id, two verdicts",
            lambda a, f: [a.decision(decision(f)), a.decision(decision(f, **REJECTED))],
            {"decided": 1, "duplicates": 1, "conflicts": 1},
        ),
        (
            "one model, two ids, two verdicts",
            lambda a, f: [a.decision(decision(f)), a.decision(decision(f, decision_id="other", **REJECTED))],
            {"decided": 1, "conflicts": 1},
        ),
        (
            "two champions that differ disagree",
            lambda a, f: [
                a.decision(decision(f)),
                a.decision(decision(f, decision_id="other", model_sha256="n", **REJECTED)),
            ],
            {"decided": 1, "disagreements": 1},
        ),
        (
            "a challenger may differ",
            lambda a, f: [
                a.decision(decision(f)),
                a.decision(decision(f, decision_id="other", model_sha256="n", model_stage="challenger", **REJECTED)),
            ],
            {"decided": 1},
        ),
        (
            "shed, later inspected",
            lambda a, f: [a.decision(decision(f, decision_id="shed", **ABORTED)), a.decision(decision(f))],
            {"decided": 1, "superseded": 1},
        ),
        ("accepted late", lambda a, f: a.decision(decision(f, is_late=True)), {"decided": 1, "late_accepts": 1}),
        (
            "accepted late, and the worker does not say so",
            lambda a, f: a.decision(decision(f, decided_at_us=LATE_US)),
            {"decided": 1, "late_accepts": 1},
        ),
        (
            "a dead letter retried long after",
            lambda a, f: [
                a.decision(decision(f, decision_id="no", **FAILED)),
                a.decision(decision(f, decided_at_us=LATE_US)),
            ],
            {"decided": 1, "superseded": 1},
        ),
        (
            "one id, two images",
            lambda a, f: [a.frame(replace(f, sha256="bb")), a.decision(decision(f))],
            {"decided": 1, "repeated_frames": 1, "conflicts": 1},
        ),
        (
            "a decision about another image",
            lambda a, f: a.decision(decision(f, image_sha256="bb")),
            {"decided": 1, "conflicts": 1},
        ),
        ("a replay answers nothing", lambda a, f: a.decision(decision(f, is_simulated=True)), {"unaccounted": 1}),
        (
            "in the topic twice",
            lambda a, f: [a.frame(f), a.decision(decision(f))],
            {"decided": 1, "repeated_frames": 1},
        ),
    ],
)
def test_one_frame(name: str, fill: Callable[[Audit, Frame], object], expected: dict[str, int]) -> None:
    audit = Audit()
    audit.frame(frame(0))
    fill(audit, frame(0))
    counts = {figure: value for figure, value in audit.cameras()["s/c"].as_dict().items() if value}
    assert counts == {"captured": 1, "frames": 1, **expected}


def test_gaps_are_by_start_and_camera() -> None:
    audit = Audit()
    for one in (frame(1), frame(2), frame(5), frame(0, started=2), frame(0, "d"), frame(1, "d")):
        audit.frame(one)
    cameras = audit.cameras(
        edge=[
            EdgeStart(camera="s/c", started_at_us=1, reported=True, captured=6, lost=3),
            EdgeStart(camera="s/e", started_at_us=1, reported=True, captured=9, lost=9),
        ]
    )
    assert (cameras["s/c"].captured, cameras["s/c"].gaps, cameras["s/c"].drops) == (7, 3, 3)
    assert (cameras["s/d"].captured, cameras["s/d"].gaps) == (2, 0)
    assert (cameras["s/e"].captured, cameras["s/e"].gaps, cameras["s/e"].drops) == (9, 9, 9)
    assert total(cameras).captured == 18
    assert total(cameras).unexplained_gaps == total(cameras).surplus_drops == 0
    part = Audit(complete_since_us=2)
    part.frame(frame(7))
    part.frame(frame(7, started=2))
    assert part.cameras()["s/c"].captured == 9
    assert part.cameras()["s/c"].unexplained_gaps == 7


def test_a_report_that_does_not_say_its_start_is_about_the_only_one() -> None:
    old = EdgeStart(camera="s/c", started_at_us=None, reported=True, captured=3, lost=1)
    audit = Audit()
    audit.frame(frame(0))
    counts = audit.cameras(edge=[old])["s/c"]
    assert (counts.captured, counts.gaps, counts.unexplained_gaps) == (3, 2, 1)
    audit.frame(frame(2, started=2))  # of two starts it can only explain
    counts = audit.cameras(edge=[old])["s/c"]
    assert (counts.captured, counts.gaps, counts.drops, counts.unexplained_gaps) == (4, 2, 1, 1)


def test_a_sequence_number_outside_of_the_range_is_no_gap() -> None:
    audit = Audit(complete_since_us=9)
    for sequence in (4, 7):
        audit.frame(frame(sequence))
    assert audit.missing() == 2
    for sequence in (3, 5, 5, 9):
        audit.frame_elsewhere(frame(sequence))
    audit.frame_elsewhere(frame(6, camera="other"))
    assert audit.missing() == 1
    assert audit.cameras()["s/c"].captured == 4


class FrameTopic:
    """Topic of frames in memory, each with the time when it reached Kafka; there are no answers."""

    def __init__(self, frames: list[tuple[int, Frame]]) -> None:
        self._frames = frames

    def complete_from(self, record: type) -> dict[int, int]:
        return {}

    def indexed(self, record: type, within: TimeRange, **_: Any) -> list[StoredMessage[Frame]]:
        return [
            StoredMessage(MessagePosition("t", 0, offset), arrived_us, None, record=frame)
            for offset, (arrived_us, frame) in enumerate(self._frames)
            if record is Frame and within.has(arrived_us)
        ]


def test_a_newest_frame_before_the_range_is_looked_for() -> None:
    # The newest frame went out live, and then the spool of the older ones.
    sent = [(900, frame(4)), *((1000 + number, frame(number)) for number in (1, 2, 3))]
    edge = [EdgeStart(camera="s/c", started_at_us=1, reported=True, captured=5)]
    source: Any = FrameTopic(sent)
    counts = audit_topics(source, TimeRange(from_us=1000), edge=edge).cameras(edge=edge)["s/c"]
    assert (counts.frames, counts.captured, counts.unexplained_gaps) == (3, 4, 0)


def test_young_frames_are_pending() -> None:
    audit = Audit()
    for sequence in range(4):
        audit.frame(frame(sequence))
    counts = audit.cameras(now_us=3_500_000, grace_us=2_000_000)["s/c"]
    assert (counts.pending, counts.unaccounted, counts.ahead) == (2, 2, 0)
    # What Kafka has had for an hour is not pending because its camera's clock is a day ahead.
    audit.frame(frame(86_400), arrived_at_us=0)
    audit.frame(frame(86_401))
    counts = audit.cameras(now_us=3_600_000_000)["s/c"]
    assert (counts.pending, counts.unaccounted, counts.ahead) == (0, 6, 2)
    # And an old one that a spool has just sent is.
    audit.frame(frame(4), arrived_at_us=3_599_000_000)
    assert audit.cameras(now_us=3_600_000_000)["s/c"].pending == 1


def test_messages_that_are_no_frames_need_a_dead_letter() -> None:
    audit = Audit()
    audit.unreadable_frame(("t", 0, 3))
    audit.unreadable_frame(("t", 0, 4))
    audit.dead_letter(letter(None, 3))
    assert (audit.unreadable, audit.unreadable_unaccounted) == (2, 1)


def test_decisions_stand_in_for_frames_that_are_elsewhere() -> None:
    audit, times = Audit(), {"arrived_at_us": 5}
    frames = [frame(number) for number in (0, 1, 3)]
    for decided in [decision(each) for each in frames] + [decision(frames[0])]:
        audit.frame_of(decided, **times)
    audit.frame_of(decision(frame(2), is_simulated=True), **times)
    for decided in (decision(each) for each in frames):
        audit.decision(decided)
    audit.decision(decision(frames[1], **REJECTED))
    [counts] = audit.cameras().values()
    assert (counts.frames, counts.decided, counts.duplicates, counts.gaps) == (3, 3, 1, 1)
    assert (counts.conflicts, counts.unaccounted) == (1, 0)


@pytest.mark.broker
def test_ranges_are_exact_at_both_ends(line: KafkaSettings) -> None:
    times = [hour_ago_ms() + 1000 * number for number in range(20)]
    publish(line, [(line.frames, f"s/{n % 5}".encode(), str(n).encode(), at_ms) for n, at_ms in enumerate(times)])

    def read(within: TimeRange | None) -> list[int]:
        return sorted(int(m.value or b"") for m in read_topic(line, line.frames, within))

    assert read(None) == list(range(20))
    assert read(TimeRange(times[5] * 1000, times[12] * 1000)) == list(range(5, 12))
    assert read(TimeRange(times[5] * 1000 + 1, None)) == list(range(6, 20))
    assert read(TimeRange(times[19] * 1000 + 1000, None)) == []
    with pytest.raises(TopicMissing):
        list(read_topic(line, f"{line.prefix}.nothing"))


@pytest.mark.long
@pytest.mark.broker
def test_the_command_closes_the_books_and_says_when_it_cannot(line: KafkaSettings, tmp_path: Path) -> None:
    assert "no frames there" in run(line).stdout
    frames = [frame(number) for number in (0, 1, 3)]
    now_ms = hour_ago_ms()
    publish(line, [(line.frames, b"s/c", encode(one), now_ms) for one in frames])
    publish(line, [(line.decisions, b"s/c", encode(decision(one)), now_ms) for one in frames[:2]])
    # Garbage in every topic, and the letter about the one in the frames topic.
    publish(line, [(topic, b"s/c", b"garbage", now_ms) for topic in (line.frames, line.decisions, line.dead_letters)])
    result = run(line)
    assert isinstance(result.exception, AuditFailed)
    assert str(result.exception) == (
        "1 unaccounted, 1 unexplained gaps, 1 unreadable messages without a dead letter"
    )  # fmt: skip
    assert (
        "s/c: 4 captured, 3 frames, 1 gaps, 1 unexplained gaps, 2 decided, 0 dead lettered, 0 duplicates, 0 conflicts, "
        "1 unaccounted" in result.stdout
    )
    for topic in (line.frames, line.decisions, line.dead_letters):
        assert f"({topic}/" in result.stdout
    place = next(m for m in read_topic(line, line.frames) if m.value == b"garbage")
    about = replace(letter(None, place.offset, line.frames), source_partition=place.partition)
    publish(
        line,
        [(line.dead_letters, b"", encode(about), now_ms), (line.dead_letters, b"", encode(letter(frames[2])), now_ms)],
    )
    report = tmp_path / "edge.json"
    row = {"name": "s/c", "captured": 4, "published": 3, "dropped": 1, "failed": 0}
    report.write_text(json.dumps({"cameras": [row]}))
    metrics = tmp_path / "audit.prom"
    result = run(line, "--edge-report", str(report), "--metrics", str(metrics), "--json")
    assert result.exception is None, result.exception
    summary = json.loads(result.stdout)
    assert summary["ok"]
    assert summary["cameras"]["s/c"]["captured"] == 4
    assert summary["unreadable_frames"] == summary["unreadable_decisions"] == summary["unreadable_dead_letters"] == 1
    assert summary["first_unreadable"]["frames"] == [f"{line.frames}/{place.partition}/{place.offset}"]
    assert (summary["first_unreadable"]["spools"], summary["faults"]) == ([], {})
    assert 'inspection_audit_frames{camera="s/c",figure="decided"} 2.0' in metrics.read_text()
    assert 'inspection_audit_frames{camera="s/c",figure="unexplained_gaps"} 0.0' in metrics.read_text()
    assert 'inspection_audit_unreadable{figure="unreadable_decisions"} 1.0' in metrics.read_text()
    publish(line, [(line.decisions, b"s/c", encode(decision(frames[0], **REJECTED)), now_ms)])
    assert "1 conflicts" in str(run(line, "--edge-report", str(report)).exception)
    assert "no frames there in that time" in run(line, "--last", "15m").stdout
    wrong = run(line, "--camera", "s/typo").exception
    assert isinstance(wrong, SettingsError)
    assert str(wrong) == "--camera s/typo: no frames; there are s/c"
    publish(line, [(line.decisions, b"s/c", encode(decision(frames[2], decided_at_us=4_000_000)), now_ms)])
    assert "1 late accepts" in str(run(line).exception)
    assert "late accepts" not in str(run(line, "--late-ok").exception)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--last", "soon"], SettingsError, "as in 90s"),
        (["--last", "5m", "--from", "2026-01-01"], SettingsError, "stands alone"),
        (["--from", "yesterday"], SettingsError, "2026-11-24T06:00"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], SettingsError, "not before"),
        (["--edge-report", "/nowhere.json"], SettingsError, "No such file"),
        (["--edge-report", "/etc/hostname"], SettingsError, "not what"),
        (["--spool-dir", "/nowhere"], SettingsError, "no such directory"),
        (["--bootstrap-servers", "127.0.0.1:9"], BrokerUnavailable, "127.0.0.1:9"),
    ],
)
def test_mistakes_are_errors_of_one_line(arguments: list[str], error: type[Exception], message: str) -> None:
    result = CliRunner().invoke(app, ["audit", *arguments])
    assert isinstance(result.exception, error), result.output
    assert message in str(result.exception)
