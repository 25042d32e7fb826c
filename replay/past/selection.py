"""Selection of recorded frames."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from schemas.errors import SettingsError
from schemas.part_ids import real_part_id
from schemas.plain_files import read_plain, replace_plain
from schemas.records import Action, Decision, Frame, Verdict

_VERSION = 1
#: Largest file: it may name a million frames.
_MOST_BYTES = 64 * 1024 * 1024
#: Largest number of frames that a selection by their number can name.
_MOST_FRAMES = 1_000_000_000
#: Fields whose names in stored selections are older than those of the code.
_STORED_NAMES = {"time_basis": "clock", "decided_as": "judged"}
_FIELDS = {stored: name for name, stored in _STORED_NAMES.items()}


class TimeBasis(StrEnum):
    """Time of a frame that a selection uses: its arrival in Kafka (the message's timestamp), or its capture."""

    KAFKA = "kafka"
    CAPTURED = "captured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Frames that meet all given conditions; without conditions, all frames.

    Parameters
    ----------
    from_us, to_us
        Start (included) and end (not included), UTC microseconds, by ``time_basis``. Exact at both ends, for any order
        of the frames.
    late_by_us
        Longest time by which a frame may be behind its time in the topic: reading stops there. None to read to the end.
    offsets
        Offsets of the frames topic by partition: begin and end (the first offset that is not included).
    last
        Number of frames to keep of those that meet the other conditions: those with the newest messages. They are
        searched from the ends of the partitions; a frame 1,000 messages or more from its place in time may be missed.
    cameras
        Cameras as ``station/camera``.
    frames, parts, lots
        Ids.
    decided_as
        Verdicts and actions of the recorded decision, such as ``REJECT`` or ``NOT_DECIDABLE``; one match is enough. A
        frame without a decision never matches.
    episode
        Id of a drift episode: selects frames of its camera that were captured from its begin to its end.

    Examples
    --------
    >>> Selection(cameras=("press/top",)).is_everything, Selection().is_everything
    (False, True)
    >>> Selection(from_us=5, to_us=5)
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: the selection ends before it begins
    """

    from_us: int | None = None
    to_us: int | None = None
    time_basis: TimeBasis = TimeBasis.KAFKA
    late_by_us: int | None = None
    offsets: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    last: int | None = None
    cameras: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    lots: tuple[str, ...] = ()
    decided_as: tuple[str, ...] = ()
    episode: str | None = None

    def __post_init__(self) -> None:
        if self.from_us is not None and self.to_us is not None and self.from_us >= self.to_us:
            raise SettingsError("the selection ends before it begins")
        if self.last is not None and not 1 <= self.last <= _MOST_FRAMES:
            raise SettingsError(f"the last {self.last} frames: at least 1, at most {_MOST_FRAMES}")
        parts = tuple(map(real_part_id, self.parts))
        if None in parts:
            raise SettingsError(f"part {self.parts[parts.index(None)]!r:.80}: the id of a part shows something")
        object.__setattr__(self, "parts", parts)  # frames have no blanks around their ids, either
        words = [*Verdict, *Action]
        for word in self.decided_as:
            if word not in words:
                raise SettingsError(f"verdict {word!r}: one of {', '.join(words)}")
        for number, (begin, end) in self.offsets.items():
            if number < 0 or not 0 <= begin <= end:
                raise SettingsError(f"offsets {begin} to {end} of partition {number}: begin and end, from 0 on")

    @property
    def is_everything(self) -> bool:
        """True if no condition is set."""
        return self == Selection()

    def has_time(self, timestamp_us: int, captured_at_us: int) -> bool:
        """Return True if a frame is in the selected time range."""
        at_us = timestamp_us if self.time_basis is TimeBasis.KAFKA else captured_at_us
        return (self.from_us is None or at_us >= self.from_us) and (self.to_us is None or at_us < self.to_us)

    def has_frame(self, frame: Frame) -> bool:
        """Return True if the frame's own fields match the selection; its time and decision are not checked."""
        return (
            (not self.cameras or frame.key in self.cameras)
            and (not self.lots or frame.lot in self.lots)
            and (not self.parts or real_part_id(frame.part_id) in self.parts)
            and (not self.frames or frame.frame_id in self.frames)
        )

    def has_decision(self, decision: Decision | None) -> bool:
        """Return True if the recorded decision matches the selection."""
        if not self.decided_as:
            return True
        return decision is not None and (decision.verdict in self.decided_as or decision.action in self.decided_as)

    def to_json(self) -> dict[str, Any]:
        """Return the conditions in JSON form; `from_json` reads it."""
        values = {_STORED_NAMES.get(f.name, f.name): getattr(self, f.name) for f in dataclasses.fields(self)}
        found = {name: value for name, value in values.items() if value not in (None, (), {}) and name != "clock"}
        if self.offsets:
            found["offsets"] = {str(number): list(bounds) for number, bounds in self.offsets.items()}
        return {"selection": _VERSION, "clock": self.time_basis.value, **found}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Selection:
        """Return a selection from the values of `to_json`.

        Raises
        ------
        SettingsError
            If the values are not a valid selection.

        Examples
        --------
        >>> chosen = Selection(lots=("L7",), offsets={3: (5, 9)}, decided_as=("REJECT",))
        >>> Selection.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
        True
        """
        try:
            if values["selection"] != _VERSION:
                raise SettingsError(f"a selection of version {values['selection']}; this program knows {_VERSION}")
            given = {name: value for name, value in values.items() if name != "selection"}
            unknown = set(given) - {_STORED_NAMES.get(f.name, f.name) for f in dataclasses.fields(cls)}
            if unknown:
                raise SettingsError(f"a selection knows no {', '.join(sorted(unknown))}")
            given["clock"] = TimeBasis(given.get("clock", TimeBasis.KAFKA))
            given["offsets"] = {int(n): (int(b), int(e)) for n, (b, e) in given.get("offsets", {}).items()}
            for name in ("cameras", "frames", "parts", "lots", "judged"):
                texts = given.get(name, ())
                if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
                    raise SettingsError(f"{name}: a list of texts")
                given[name] = tuple(texts)
            for name in ("from_us", "to_us", "late_by_us", "last"):
                if isinstance(given.get(name), bool) or not isinstance(given.get(name), int | None):
                    raise SettingsError(f"{name}: a whole number")
            if not isinstance(given.get("episode"), str | None):
                raise SettingsError("episode: a text")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise SettingsError(f"no selection: {error}") from error
        return cls(**{_FIELDS.get(name, name): value for name, value in given.items()})

    def save(self, path: Path) -> None:
        """Write the selection to a file.

        Raises
        ------
        SettingsError
            If the file cannot be written; an earlier one is then as it was.
        """
        try:
            replace_plain(path, json.dumps(self.to_json(), indent=2).encode() + b"\n")
        except OSError as error:
            raise SettingsError(f"selection {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Selection:
        """Read a selection from a file.

        Raises
        ------
        SettingsError
            If the file cannot be read, or is not a valid selection.
        """
        try:
            values = json.loads(read_plain(path, _MOST_BYTES, regular=False))
        except OSError as error:
            raise SettingsError(f"selection {path}: {error.strerror or error}") from error
        except (RecursionError, ValueError) as error:
            raise SettingsError(f"selection {path} is no JSON: {error}") from error
        if not isinstance(values, dict):
            raise SettingsError(f"selection {path}: a JSON object")
        try:
            return cls.from_json(values)
        except SettingsError as error:
            raise SettingsError(f"selection {path}: {error}") from error
