"""One filled-in record of each class."""

from __future__ import annotations

import datetime
import hashlib

from schemas import (
    Action,
    AuditEvent,
    AuditOutcome,
    DeadLetter,
    Decision,
    Defect,
    DriftEvent,
    DriftKind,
    DriftType,
    Encoding,
    EpisodeState,
    Frame,
    Label,
    ResultState,
    SignalChange,
    Verdict,
)

IMAGE = b"\xff\xd8 not really a JPEG \xff\xd9"
CAPTURED_AT_US = 1_760_000_000_123_456
FRAME = Frame(
    frame_id="press.top.60a24181e4000.00000012",
    line="line-1",
    station="press",
    camera_id="top",
    part_id="P-77",
    started_at_us=1_700_000_000_000_000,
    sequence=12,
    captured_at_us=CAPTURED_AT_US,
    deadline_ms=500,
    encoding=Encoding.JPEG,
    width=640,
    height=480,
    sha256=hashlib.sha256(IMAGE).hexdigest(),
    image=IMAGE,
    attributes={"lens": "25 mm", "Licht": "Ring, weiß"},
)
DECISION = Decision(
    decision_id="9fac9446291dc1754be2acd5353052c9",
    frame_id=FRAME.frame_id,
    line=FRAME.line,
    station=FRAME.station,
    camera_id=FRAME.camera_id,
    part_id=FRAME.part_id,
    started_at_us=FRAME.started_at_us,
    sequence=FRAME.sequence,
    image_sha256=FRAME.sha256,
    verdict=Verdict.NOT_OK,
    action=Action.REJECT,
    result_state=ResultState.COMPLETED,
    reason="score 0.91 is over the threshold 0.5",
    score=0.91,
    threshold=0.5,
    labels={"crack": 0.91},
    defects=(Defect("crack", 0.91, (10.0, 20.0, 30.5, 40.25)),),
    model_name="elpv",
    model_version="1",
    model_sha256="bb" * 32,
    recipe_id="default",
    recipe_revision="1",
    signals={"sharpness": 12.5},
    captured_at_us=CAPTURED_AT_US,
    received_at_us=CAPTURED_AT_US + 2_000,
    decided_at_us=CAPTURED_AT_US + 12_000,
    deadline_at_us=CAPTURED_AT_US + 500_000,
    durations_ms={"queue": 0.2, "decode": 1.1, "infer": 7.9},
    source_topic="inspection.frames",
    source_partition=3,
    source_offset=1234,
)
DEAD_LETTER = DeadLetter(
    source_topic="inspection.frames",
    source_partition=3,
    source_offset=1235,
    kind="truncated",
    reason="Frame ends after 12 bytes, too early",
    failed_at_us=CAPTURED_AT_US,
    worker="host:1",
    key=b"press/top",
    value=b"\x00\x01",
    headers={"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
)
LABEL = Label(
    label_id="5f0c",
    line=FRAME.line,
    station=FRAME.station,
    camera_id=FRAME.camera_id,
    frame_id=FRAME.frame_id,
    part_id=FRAME.part_id,
    truth=Verdict.NOT_OK,
    defect="crack",
    labelled_at_us=CAPTURED_AT_US + 3_600_000_000,
    labelled_by="Ada",
    sampled_because="random",
    note="Riß am Rand",
)
DRIFT_EVENT = DriftEvent(
    event_id="e1",
    episode_id="e",
    state=EpisodeState.OPENED,
    drift_type=DriftType.DATA,
    kind=DriftKind.SUDDEN,
    line=FRAME.line,
    station=FRAME.station,
    camera_id=FRAME.camera_id,
    reason="brightness fell by 0.8 standard deviations",
    signals=(SignalChange("brightness", "page-hinkley", 152.0, 129.0, -0.8),),
    started_frame_id=FRAME.frame_id,
    started_at_us=CAPTURED_AT_US,
    detected_frame_id=FRAME.frame_id,
    detected_at_us=CAPTURED_AT_US,
    frames=3,
    frames_before=("a", "b"),
    frames_after=("c",),
    model_name="elpv",
    model_version="1",
    model_sha256="bb" * 32,
    recipe_id="default",
    recipe_revision="1",
    emitted_at_us=CAPTURED_AT_US + 20_000,
    source_topic="inspection.decisions",
    source_partition=3,
    source_offset=1234,
)
AUDIT_EVENT = AuditEvent(
    event_id="0b5d",
    written_at_us=CAPTURED_AT_US + 3_600_000_000,
    act="label",
    outcome=AuditOutcome.BEGUN,
    about=FRAME.frame_id,
    after="NOT_OK crack",
    principal="ada",
    login="scram",
    stated_by="Ada",
    host="desk-1",
    uid=1000,
    program="inspection label",
    chain_offset=6,
    chain_sha256="cc" * 32,
)
ALL = (FRAME, DECISION, DEAD_LETTER, LABEL, DRIFT_EVENT, AUDIT_EVENT)


def plain(value: object) -> object:
    """Return the value of another reader in the types of our records."""
    if isinstance(value, datetime.datetime):
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return (value - epoch) // datetime.timedelta(microseconds=1)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value
