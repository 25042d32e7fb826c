"""Streams of decisions of one camera, with signals drawn from a seed."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from models.reference import SignalReferences, references_of
from monitoring.drift import CameraWatch, DriftOptions
from schemas.records import Decision, DriftEvent, EpisodeState
from tests.support.records import DECISION

#: Mean and standard deviation of the signals on a good line.
USUAL = {"brightness": (150.0, 20.0), "contrast": (30.0, 5.0), "sharpness": (50.0, 12.0), "score": (0.2, 0.05)}
Shift = Mapping[str, float]
NOW_US = 1_795_000_000_000_000


def rows(count: int, seed: int, shift: Shift | None = None) -> Iterator[dict[str, float]]:
    """Signals; ``shift`` moves a mean by so many standard deviations."""
    rng = np.random.default_rng(seed)
    moved = shift or {}
    for _ in range(count):
        hashes = {name: float(rng.integers(0, 1 << 32)) for name in ("dhash_hi", "dhash_lo")}
        yield {n: float(rng.normal(m + moved.get(n, 0) * sd, sd)) for n, (m, sd) in USUAL.items()} | hashes


def reference(seed: int = 999) -> SignalReferences:
    """Of 2,000 images of the good line."""
    return references_of(list(rows(2000, seed)))


def decision(number: int, signals: Mapping[str, float], **changes: Any) -> Decision:
    """Decision number so-and-so of the camera."""
    made = dataclasses.replace(
        DECISION,
        frame_id=f"press.top.1.{number:08d}",
        started_at_us=1,
        sequence=number,
        captured_at_us=number * 500_000,
        image_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        signals=dict(signals),
        source_offset=number,
    )
    return dataclasses.replace(made, **changes)


def watched(
    *parts: Iterable[Mapping[str, float]], watch: CameraWatch | None = None, **changes: Any
) -> list[DriftEvent]:
    """What is said of some stretches, one after the other."""
    watch = watch or CameraWatch(lambda model, product: REFERENCE)
    events: list[DriftEvent] = []
    for number, signals in enumerate(row for part in parts for row in part):
        events += watch.decision(decision(number, signals, **changes), now_us=number)
    return events


def watch(**options: Any) -> CameraWatch:
    """Watch of the camera, with the signals of the good line as reference."""
    return CameraWatch(lambda model, product: REFERENCE, DriftOptions(**options))


def fed(watched: CameraWatch, decisions: Iterable[Decision], now_us: int = NOW_US) -> list[DriftEvent]:
    """Events of some decisions, one after the other."""
    return [event for one in decisions for event in watched.decision(one, now_us=now_us)]


def opened(events: Iterable[DriftEvent]) -> list[DriftEvent]:
    """Those that open an episode."""
    return [event for event in events if event.state is EpisodeState.OPENED]


def unpacked(state: bytes) -> dict[str, Any]:
    """A state of a camera as JSON, its products too: as version 2 had it."""
    plain = json.loads(zlib.decompress(state))
    plain["version"] = 2
    for row in plain["products"]:
        row[1:] = [{**json.loads(zlib.decompress(base64.b64decode(packed))), "away": away} for away, packed in row[1:]]
    return plain


def number_of(frame_id: str) -> int:
    """Of a frame of `decision`."""
    return int(frame_id.rpartition(".")[2])


REFERENCE = reference()
