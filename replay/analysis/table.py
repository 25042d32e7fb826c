"""Table: frames of a stretch as columns, for the analysis and for notebooks."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.quality.label_index import LabelIndex
from monitoring.quality.outcome import Truth, decision_rank
from replay.past.replayed_frame import RECORDED, ReplayedFrame
from schemas.records import Decision
from schemas.text import shown

_log = logging.getLogger(__name__)
#: Values of ``truth``.
UNKNOWN, GOOD, DEFECTIVE = -1, 0, 1

Column = NDArray[Any]

_IDENTITY: tuple[str, ...] = (
    "frame_id", "part_id", "line", "station", "camera", "lot", "image_sha256", "topic",
)  # fmt: skip
#: Names of texts that hardly any two rows share.
_OF_ONE_ROW = frozenset({"frame_id", "part_id", "image_sha256", "reason"})
#: Maximum number of different texts that are stored once and shared.
_MAX_SHARED = 100_000
#: Maximum number of signals, and of attributes, with a column: any writer can name new ones in each frame.
MAX_COLUMNS = 256
#: Largest signal or duration, so that squares and sums of many stay finite.
_MAX_NUMBER = 1e30
_OF_DECIDER: tuple[str, ...] = ("verdict", "action", "result_state", "model", "reason")
_STAGES = ("queue", "decode", "infer")
#: Rank of a frame without a recorded decision, behind all others.
_NO_DECISION = (2, 0, 0)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, one row for each frame, by time of capture.

    The first `MAX_COLUMNS` signals and attributes have columns.

    Texts are in object arrays, None if there is no text; numbers are in float64 (NaN: no number), int64 or int8.

    ==========================================  ==================================================================
    column                                      contents
    ==========================================  ==================================================================
    frame_id, part_id, line, station, lot       identity; ``part_id`` and ``lot`` may be None
    camera                                      ``station/camera``
    image_sha256                                hash of the image
    topic, partition, offset                    place of the frame
    captured_at_us, timestamp_us                time of the capture, of the message; UTC
    attribute.NAME                              attributes of the frame, text; None for a frame without it
    copies                                      messages with this frame id: more than 1 were published or read again
    truth                                       int8: `UNKNOWN`, `GOOD` or `DEFECTIVE`
    defect, sampled_because                     from the label; None without a label
    signal.NAME                                 float64, from the recorded decision, or the first one
    DECIDER.score, DECIDER.threshold            float64, NaN if it was not inspected or is not from 0 to 1
    DECIDER.verdict, .action, .result_state     text, None if the decider made no decision
    DECIDER.model                               name, version and 8 digits of the sha256
    DECIDER.reason                              text
    recorded.latency_ms                         capture to decision
    recorded.queue_ms, .decode_ms, .infer_ms    stages
    recorded.is_late                            int8, 1 after the deadline; -1 for a frame without a deadline
    ==========================================  ==================================================================

    Parameters
    ----------
    deciders
        `RECORDED`, then the variants of the run, as the columns name them.
    """

    deciders: tuple[str, ...]
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.columns["frame_id"])

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Table:
        """Return the rows of a mask, or of indices in their order."""
        return Table(self.deciders, {name: column[chosen] for name, column in self.columns.items()})

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals in the table."""
        return tuple(name.removeprefix("signal.") for name in self.columns if name.startswith("signal."))


def build_table(
    frames: Iterable[ReplayedFrame],
    truths: LabelIndex | None = None,
    *,
    variants: Sequence[str] = (),
    truth_attribute: str | None = None,
    good_words: frozenset[str] = frozenset({"functional", "good", "ok"}),
) -> Table:
    """Read frames into a table; of several messages with one frame id, the first decided inspection counts.

    Memory: about 1.5 KiB a frame.

    Parameters
    ----------
    truths
        Labels; None if the truth is not known.
    variants
        Names of the run's variants, in the order of ``replayed``.
    truth_attribute
        Attribute of frames that states the truth if there is no label, as cameras of data sets set it (``label``).
        Every frame has it, so it counts as drawn at random.
    good_words
        Values of the attribute, in lower case, that mean a good part.
    """
    builder = _Builder(truths or LabelIndex(), tuple(variants), truth_attribute, good_words)
    for frame in frames:
        builder.add(frame)
    return builder.table()


class _Builder:
    def __init__(
        self, truths: LabelIndex, variants: tuple[str, ...], truth_attribute: str | None, good_words: frozenset[str]
    ) -> None:
        self._truths = truths
        self._deciders = (RECORDED, *variants)
        self._truth_attribute = truth_attribute
        self._good_words = good_words
        self._rows: dict[str, int] = {}
        self._copies = array("q")
        self._ranks: tuple[array[int], ...] = (array("b"), array("q"), array("q"))
        self._texts: dict[str, list[str | None]] = {name: [] for name in _IDENTITY}
        self._texts |= {f"{decider}.{name}": [] for decider in self._deciders for name in _OF_DECIDER}
        self._texts |= {"defect": [], "sampled_because": []}
        self._numbers = {
            f"{decider}.{name}": array("d") for decider in self._deciders for name in ("score", "threshold")
        }
        self._numbers |= {f"{RECORDED}.{name}_ms": array("d") for name in ("latency", *_STAGES)}
        self._integers = {name: array("q") for name in ("partition", "offset", "captured_at_us", "timestamp_us")}
        self._small = {name: array("b") for name in ("truth", f"{RECORDED}.is_late")}
        self._signals: dict[str, array[float]] = {}
        self._attributes: dict[str, list[str | None]] = {}
        self._is_full = False
        self._shared: dict[str, str] = {}

    def add(self, frame: ReplayedFrame) -> None:
        """Add a frame, or count one more copy of it."""
        known, rank = self._rows.get(frame.identity.frame_id), _rank(frame)
        if known is not None and tuple(ranks[known] for ranks in self._ranks) <= rank:
            self._copies[known] += 1
            return
        row = self._rows[frame.identity.frame_id] = len(self._copies)
        self._copies.append(1 if known is None else self._copies[known] + 1)
        for ranks, place in zip(self._ranks, rank, strict=True):
            ranks.append(place)
        self._identity(frame)
        truth = self._truths.of(frame.identity)
        attribute = frame.identity.attributes.get(self._truth_attribute or "", "").strip()
        if truth is None and attribute:
            is_defective = attribute.lower() not in self._good_words
            truth = Truth("", None, None, is_defective, 0, attribute if is_defective else "", "random")
        self._small["truth"].append(UNKNOWN if truth is None else DEFECTIVE if truth.is_defective else GOOD)
        self._text("defect", None if truth is None else truth.defect or None)
        self._text("sampled_because", None if truth is None else truth.sampled_because)
        decisions = (frame.recorded, *(frame.replayed or (None,) * (len(self._deciders) - 1)))
        for decider, decision in zip(self._deciders, decisions, strict=True):
            self._decision(decider, decision)
        self._timing(frame.recorded)
        for name, value in frame.identity.signals.items():
            if self._has_room(self._signals, name):
                _pad(self._signals.setdefault(name, array("d")), row, float("nan")).append(_within(value))
        for name, text in frame.identity.attributes.items():
            if self._has_room(self._attributes, name) or name == self._truth_attribute:
                _pad(self._attributes.setdefault(name, []), row, None).append(self._share(text))

    def _has_room(self, columns: Mapping[str, Any], name: str) -> bool:
        has_room = name in columns or len(columns) < MAX_COLUMNS
        if not has_room and not self._is_full:
            self._is_full = True
            _log.warning("more than %d signals or attributes: %s and others are left out", MAX_COLUMNS, shown(name, 60))
        return has_room

    def table(self) -> Table:
        """Return all rows so far, by time of capture."""
        count = len(self._copies)
        columns: dict[str, Column] = {name: _objects(texts) for name, texts in self._texts.items()}
        columns |= {name: np.array(numbers, np.float64) for name, numbers in self._numbers.items()}
        columns |= {name: np.array(numbers, np.int64) for name, numbers in self._integers.items()}
        columns |= {name: np.array(numbers, np.int8) for name, numbers in self._small.items()}
        columns["copies"] = np.array(self._copies, np.int64)
        for name, values in sorted(self._signals.items()):
            columns[f"signal.{name}"] = np.array(_pad(values, count, float("nan")), np.float64)
        for name, texts in sorted(self._attributes.items()):
            columns[f"attribute.{name}"] = _objects(_pad(texts, count, None))
        rows = np.fromiter(self._rows.values(), np.int64, len(self._rows))
        order = np.lexsort([columns[name][rows] for name in ("offset", "partition", "captured_at_us")])
        return Table(self._deciders, columns).where(rows[order])

    def _identity(self, frame: ReplayedFrame) -> None:
        decision = frame.identity
        values = {
            "frame_id": decision.frame_id, "part_id": decision.part_id, "line": decision.line,
            "station": decision.station, "camera": decision.key, "lot": decision.lot,
            "image_sha256": decision.image_sha256, "topic": frame.position.topic,
        }  # fmt: skip
        for name, text in values.items():
            self._text(name, text)
        self._integers["partition"].append(frame.position.partition)
        self._integers["offset"].append(frame.position.offset)
        self._integers["captured_at_us"].append(decision.captured_at_us)
        self._integers["timestamp_us"].append(frame.timestamp_us)

    def _decision(self, decider: str, decision: Decision | None) -> None:
        nan = float("nan")
        numbers = (None, None) if decision is None else (decision.score, decision.threshold)
        for name, number in zip(("score", "threshold"), numbers, strict=True):
            self._numbers[f"{decider}.{name}"].append(nan if number is None else _within(number, 0.0, 1.0))
        texts: tuple[str | None, ...] = (None,) * len(_OF_DECIDER)
        if decision is not None:
            model = f"{decision.model_name} {decision.model_version} {decision.model_sha256[:8]}"
            texts = (decision.verdict.value, decision.action.value, decision.result_state.value, model, decision.reason)
        for name, text in zip(_OF_DECIDER, texts, strict=True):
            self._text(f"{decider}.{name}", text)

    def _timing(self, recorded: Decision | None) -> None:
        nan = float("nan")
        latency_ms = nan if recorded is None else (recorded.decided_at_us - recorded.captured_at_us) / 1000
        self._numbers[f"{RECORDED}.latency_ms"].append(latency_ms)
        for stage in _STAGES:
            stage_ms = nan if recorded is None else _within(recorded.durations_ms.get(stage, nan))
            self._numbers[f"{RECORDED}.{stage}_ms"].append(stage_ms)
        has_deadline = recorded is not None and recorded.deadline_at_us is not None
        self._small[f"{RECORDED}.is_late"].append(int(recorded.is_late) if recorded and has_deadline else -1)

    def _text(self, name: str, text: str | None) -> None:
        is_shared = text is not None and name.rpartition(".")[2] not in _OF_ONE_ROW
        self._texts[name].append(self._share(text) if is_shared and text is not None else text)

    def _share(self, text: str) -> str:
        # Lots, cameras and models repeat the same few texts.
        if len(self._shared) < _MAX_SHARED:
            return self._shared.setdefault(text, text)
        return self._shared.get(text, text)


def _within(number: float, low: float = -_MAX_NUMBER, high: float = _MAX_NUMBER) -> float:
    """Return a number of a record; NaN if it is outside its range: one such record must not make all figures fail."""
    return number if low <= number <= high else float("nan")


def _rank(frame: ReplayedFrame) -> tuple[int, int, int]:
    """Return the rank of a frame among its copies: that of its recorded decision. Without one it is the last."""
    return _NO_DECISION if frame.recorded is None else decision_rank(frame.recorded)


def _pad(values: Any, count: int, empty: Any) -> Any:
    values.extend([empty] * (count - len(values)))
    return values


def _objects(texts: Sequence[str | None]) -> Column:
    column = np.empty(len(texts), object)
    column[:] = texts
    return column
