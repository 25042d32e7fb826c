"""Contenders that watch the streams: ours, and others with the set-up of their own documentation.

Each contender gets picture after picture and returns True at an alarm. After an alarm it goes on as in its own
documentation: River's detectors start from scratch, Evidently compares the next window.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from typing import Any, Protocol

from river import drift

from benchmarks.drift.pools import Picture
from models import default_model_path
from models.package import load_reference
from models.signals import CODES
from monitoring.drift import CameraWatch
from schemas.records import Decision, DriftEvent, EpisodeState, ResultState, Verdict


class Contender(Protocol):
    """Detector that watches one camera."""

    def look(self, picture: Picture, product: str | None) -> bool:
        """Take a frame; True if there is an alarm."""

    @property
    def memory_bytes(self) -> int:
        """Memory for one camera, in bytes."""


class Ours:
    """`inspection watch` of one camera, with its defaults and the reference that ships with the model."""

    name = "ours"

    def __init__(self) -> None:
        _, reference = load_reference(default_model_path())
        assert reference is not None
        self._watch = CameraWatch(lambda _model, product: reference.of(product))
        self._number = 0
        #: Published events, each with the number of the frame.
        self.events: list[tuple[int, DriftEvent]] = []

    def look(self, picture: Picture, product: str | None) -> bool:
        """Take a frame; True if an episode opens. Updates and ends of an episode are not alarms."""
        number, self._number = self._number, self._number + 1
        events = self._watch.decision(_decision(picture, number, product), now_us=0)
        self.events += [(number, event) for event in events]
        return any(event.state is EpisodeState.OPENED for event in events)

    @property
    def memory_bytes(self) -> int:
        """Size of the state in bytes; uncompressed and compressed states differ by a factor of about 4."""
        return len(self._watch.state())


class RiverDefaults:
    """One of River's detectors on each signal, with its defaults; an alarm of any signal is an alarm."""

    def __init__(self, detector: str) -> None:
        self.name = f"River {detector}"
        self._make = getattr(drift, detector)
        self._detectors: dict[str, Any] = {}

    def look(self, picture: Picture, product: str | None) -> bool:
        """Take a frame: update the detector of every signal. True if one of them finds drift."""
        alarm = False
        for signal, value in numbers(picture.signals).items():
            detector = self._detectors.get(signal)
            if detector is None:
                detector = self._detectors[signal] = self._make()
            detector.update(value)
            alarm |= bool(detector.drift_detected)
        return alarm

    @property
    def memory_bytes(self) -> int:
        """Memory of the detectors in bytes, as River measures it."""
        return sum(detector._raw_memory_usage for detector in self._detectors.values())


class Evidently:
    """Evidently's drift preset: windows of 200 frames are compared with a reference of the first 1,000 frames.

    By default it alarms if half of the columns have drifted (``drift_share=0.5``), each by its default test.
    """

    name = "Evidently"
    WINDOW, REFERENCE = 200, 1000

    def __init__(self) -> None:
        self._reference: list[Mapping[str, float]] = []
        self._window: list[Mapping[str, float]] = []

    def look(self, picture: Picture, product: str | None) -> bool:
        """Take a frame; at the end of each window, make a report, and return True if it finds drift."""
        import pandas
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        row = numbers(picture.signals)
        if len(self._reference) < self.REFERENCE:
            self._reference.append(row)
            return False
        self._window.append(row)
        if len(self._window) < self.WINDOW:
            return False
        definition = DataDefinition(numerical_columns=list(row))
        new, old = (
            Dataset.from_pandas(pandas.DataFrame(rows), data_definition=definition)
            for rows in (self._window, self._reference)
        )
        self._window = []
        found = Report([DataDriftPreset()]).run(new, old).dict()
        share = next(m["value"]["share"] for m in found["metrics"] if "DriftedColumnsCount" in m["metric_name"])
        return bool(share >= 0.5)

    @property
    def memory_bytes(self) -> int:
        """Size of the kept rows in bytes."""
        return len(pickle.dumps([self._reference, self._window]))


def numbers(signals: Mapping[str, float]) -> dict[str, float]:
    """Return the signals that are quantities with finite values."""
    return {name: value for name, value in signals.items() if name not in CODES and math.isfinite(value)}


def _decision(picture: Picture, number: int, product: str | None) -> Decision:
    return Decision(
        decision_id=str(number), frame_id=f"bench.cam.1.{number:08d}", line="bench", station="bench", camera_id="cam",
        started_at_us=1, sequence=number, image_sha256=picture.sha256, verdict=Verdict.OK, action=picture.action,
        result_state=ResultState.COMPLETED, reason="", model_name="elpv-cells", model_version="1", model_sha256="",
        recipe_id="r", recipe_revision="1", captured_at_us=number * 500_000, received_at_us=0, decided_at_us=0,
        source_topic="d", source_partition=0, source_offset=number, signals=dict(picture.signals),
        attributes={} if product is None else {"product": product},
    )  # fmt: skip
