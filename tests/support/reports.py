"""A stretch of real solar cells, judged by the models that ship: what the report is tested on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from models import FramePosition, build_decision, default_model_path, inspect_image, load_model
from models.datasets.elpv import load_cells
from models.package import Model
from monitoring.drift.episodes import Episode, build_episodes
from monitoring.quality.label_index import LabelIndex
from replay.analysis.table import Table, build_table
from replay.past.replayed_frame import ReplayedFrame
from schemas import Action, DriftEvent, DriftKind, DriftType, Encoding, EpisodeState, Frame, Verdict
from schemas.ids import frame_id
from schemas.records import Label
from transport.stored_message import MessagePosition, StoredMessage

BEGIN_US = 1_764_000_000_000_000
CHALLENGER = "good-only"


@dataclass(frozen=True)
class Example:
    """Frames with their decisions and labels, and the table of them."""

    frames: tuple[StoredMessage[Frame], ...]
    replayed: tuple[ReplayedFrame, ...]
    truths: LabelIndex
    table: Table
    episodes: tuple[Episode, ...]
    model: Model


def make_frame(number: int, data: bytes, **changes: Any) -> Frame:
    values: dict[str, Any] = dict(
        line="demo", station="el", camera_id=("left", "right")[number % 2], started_at_us=1, sequence=number,
        captured_at_us=BEGIN_US + number * 30_000_000, deadline_ms=800, encoding=Encoding.PNG, width=300, height=300,
        part_id=f"C{number:04}", lot=f"L{number // 16}", image=data, sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    values |= changes
    values.setdefault("frame_id", frame_id(values["station"], values["camera_id"], 1, number))
    return Frame(**values)


def worse_model() -> Model:
    """Return a challenger that rejects too many good cells: the model of good cells with a low threshold."""
    model = load_model(default_model_path().parent / "elpv_good_only")
    decision = model.manifest.decision.model_copy(update={"threshold": 0.25})
    return replace(model, manifest=model.manifest.model_copy(update={"decision": decision}))


@cache
def example(count: int = 80) -> Example:
    """Every cell has a label, drawn at random; a drift episode lies over the middle."""
    cells = load_cells("test")
    step = len(cells) // count
    champion, other = load_model(default_model_path()), worse_model()
    frames, replayed, labels = [], [], []
    for number, cell in enumerate(cells[: step * count : step]):
        frame = make_frame(number, cell.path.read_bytes(), attributes={"type": cell.cell_type})
        place = MessagePosition("inspection.frames", number % 2, number // 2)
        at_us = frame.captured_at_us + 20_000 + number * 700
        source = FramePosition(place.topic, place.partition, place.offset, at_us)
        assert frame.image is not None
        made = [
            build_decision(frame, inspect_image(frame.image, model), model, source, decided_at_us=at_us, queue_ms=0.5)
            for model in (champion, other)
        ]
        frames.append(StoredMessage(place, frame.captured_at_us // 1000 * 1000, None, record=frame))
        replayed.append(ReplayedFrame(position=place, timestamp_us=at_us, recorded=made[0], replayed=(made[1],)))
        truth = Verdict.NOT_OK if cell.defective else Verdict.OK
        labels.append(Label(
            label_id=str(number), station=frame.station, camera_id=frame.camera_id, frame_id=frame.frame_id,
            truth=truth, labelled_at_us=BEGIN_US, labelled_by="ada", defect="crack" if cell.defective else None,
            sampled_because="random",
        ))  # fmt: skip
    truths = LabelIndex(labels)
    table = build_table(replayed, truths, variants=[CHALLENGER])
    return Example(tuple(frames), tuple(replayed), truths, table, (episode(),), champion)


def episode(**changes: Any) -> Episode:
    """Of the left camera, ten minutes long."""
    values: dict[str, Any] = dict(
        event_id="e1", episode_id="5f2c9a01d4", state=EpisodeState.CLOSED, drift_type=DriftType.DATA,
        kind=DriftKind.SUDDEN, line="demo", station="el", camera_id="left", reason="brightness fell by 3.1 sd",
        started_frame_id="a", started_at_us=BEGIN_US + 900_000_000, detected_frame_id="b",
        detected_at_us=BEGIN_US + 960_000_000, emitted_at_us=BEGIN_US + 960_000_000, model_name="m", model_version="1",
        model_sha256="00", recipe_id="r", recipe_revision="1", source_topic="t", source_partition=0, source_offset=1,
        closed_at_us=BEGIN_US + 1_500_000_000,
    )  # fmt: skip
    return build_episodes([DriftEvent(**(values | changes))])[0]


#: What a camera, a lot or a model may call itself.
HOSTILE = "</script><script>document.title='run'</script><img src=http://192.0.2.1/x onerror=alert(1)>{{7*7}}%{x}\"'&"


def hostile() -> tuple[Table, tuple[StoredMessage[Frame], ...], tuple[ReplayedFrame, ...]]:
    """Three frames whose every text is out to run in the page."""
    one = example(16)
    frames, replayed = [], []
    for number, (stored, judged) in enumerate(zip(one.frames[:3], one.replayed[:3], strict=True)):
        assert stored.record is not None
        assert judged.recorded is not None
        name = f"{number}{HOSTILE}"
        identity: dict[str, Any] = dict(
            frame_id=name, part_id=name, lot=HOSTILE, station=HOSTILE, camera_id=HOSTILE, line=HOSTILE
        )
        attributes = {HOSTILE: HOSTILE}
        frames.append(replace(stored, record=replace(stored.record, **identity, attributes=attributes)))
        action = (Action.ACCEPT, Action.REJECT, Action.REVIEW)[number]
        decision = replace(
            judged.recorded, **identity, attributes=attributes, reason=HOSTILE, model_name=HOSTILE, action=action
        )
        replayed.append(replace(judged, recorded=decision, replayed=(replace(decision, action=Action.REJECT),)))
    truths = LabelIndex([
        Label(label_id=str(n), station=HOSTILE, camera_id=HOSTILE, frame_id=f"{n}{HOSTILE}",
              truth=Verdict.OK if n else Verdict.NOT_OK, labelled_at_us=1, labelled_by="x", defect=HOSTILE,
              sampled_because="random")
        for n in range(3)
    ])  # fmt: skip
    return build_table(replayed, truths, variants=[HOSTILE]), tuple(frames), tuple(replayed)
