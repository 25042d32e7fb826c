"""Selections across the border of an archive and a topic that has forgotten the older half."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay import Archive, ResolvedSelection, Selection, Source, recorded_frames
from replay.past.selection import TimeBasis
from schemas import Action, KafkaSettings
from tests.support.archives import archive, delete_before
from tests.support.past import CAMERAS, EPOCH_US, Past, publish_past

pytestmark = pytest.mark.broker


@pytest.mark.long
def test_every_selection_gives_each_frame_once(line: KafkaSettings, tmp_path: Path) -> None:
    older = publish_past(line, 120, seed=1)
    # Small batches, so that files have times of their own and the index has something to leave out.
    archive(line, tmp_path, memory_bytes=4_000)
    past = Past(line, {**older.rows, **publish_past(line, 120, seed=2).rows})
    for partition in (0, 2, 4):
        delete_before(line, line.frames, partition, 30)
        delete_before(line, line.decisions, partition, 20)
    source = Source(line, Archive.open(str(tmp_path)))

    def times(begin_s: int, end_s: int) -> dict[str, int]:
        return {"from_us": EPOCH_US + begin_s * 1_000_000, "to_us": EPOCH_US + end_s * 1_000_000}

    def within(at_us: int, begin_s: int, end_s: int) -> bool:
        return EPOCH_US + begin_s * 1_000_000 <= at_us < EPOCH_US + end_s * 1_000_000

    of_camera = past.places(lambda _, f, __: (f.key, f.lot) == (CAMERAS[1], "L1"))
    of_offsets = {place for place in past.rows if place.partition == 4 and 25 <= place.offset < 45}
    for what, wanted in [
        ({}, past.places(lambda *_: True)),
        (times(30, 60), past.places(lambda at, _, __: within(at, 30, 60))),
        # What was captured before an end may lie in files that begin after it.
        (
            {**times(30, 60), "time_basis": TimeBasis.CAPTURED},
            past.places(lambda _, f, __: within(f.captured_at_us, 30, 60)),
        ),
        ({"cameras": CAMERAS[1:2], "lots": ("L1",)}, of_camera),
        ({"decided_as": ("REJECT",)}, past.places(lambda _, __, d: d.action is Action.REJECT)),
        ({"parts": ("P9",)}, past.places(lambda _, f, __: f.part_id == "P9")),
        ({"offsets": {4: (25, 45)}}, of_offsets),
    ]:
        assert wanted, what
        with ResolvedSelection(source, Selection(**what)) as resolved:
            found = list(resolved.frames())
        assert sorted(frame.position for frame, _ in found) == sorted(wanted), what
        assert all((frame.record, decision) == past.rows[frame.position][1:] for frame, decision in found), what
        if what.get("time_basis") or "from_us" not in what:
            assert sorted(row.position for row in recorded_frames(source, Selection(**what))) == sorted(wanted), what
