"""Episode of drift: opened by an alarm, kept up to date, closed once.

=============  =======================================================================================================
closed         when
=============  =======================================================================================================
``recovered``  all signals of the episode are within 0.3 standard deviations of the reference, over 200 watched frames
``settled``    the episode is ``settle_frames`` old, and its signals are at the level of half of this time ago: the new
               level is the reference from then on
``reset: ...``  recipe or product changed
=============  =======================================================================================================

An episode is *recurring* if its new level is close to a level that the camera had in one of its last ten episodes, and
that level is not the one from before the change. Close means within half a standard deviation, in all signals of the
episode that changed by half a standard deviation or more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from monitoring.checked import MAX_LONG, fields, flag, items, mapping, number_or_nan, numbers, text, whole
from monitoring.drift.trace import MAX_SIGNALS
from schemas.records import WARM_UP, DriftKind, EpisodeState, SignalChange

RECOVERED_SD = 0.3
CLEAR_SD = 0.5
SETTLED_SD = 0.25
#: Number of watched frames over which a level is computed.
LEVEL_FRAMES = 200
#: Number of watched frames before the kind of a change is determined.
KIND_FRAMES = 200
#: Least number of watched frames between two updates; the interval grows as an episode gets older.
UPDATE_FRAMES = 50
EXAMPLES = 3
PAST_LEVELS = 20

#: Causes that are named, and their descriptions.
CAUSES = {
    "frozen": "the camera gives the same picture again and again",
    "black": "the picture is black",
    "saturated": "the picture is saturated",
    "out-of-focus": "the picture is out of focus, or blurred by motion",
    WARM_UP: "the camera warms up, no consequence",
}
#: Bound for counts of an event: schemas allow more than 32 bits, but no episode has more frames.
MAX_INT = 2**31 - 1

#: Mean of each signal, in its unit.
Level = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EpisodeUpdate:
    """Publication that is due about an episode: its new state, and the reason for which it is closed, or ""."""

    state: EpisodeState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TrackedEpisode:
    """Knowledge about one episode; times are UTC microseconds."""

    episode_id: str
    started_frame_id: str
    started_at_us: int
    detected_frame_id: str
    detected_at_us: int
    frames_before: tuple[str, ...]
    cause: str = ""
    kind: DriftKind = DriftKind.UNDETERMINED
    changes: Mapping[str, SignalChange] = field(default_factory=dict)
    frames_after: tuple[str, ...] = ()
    #: Number of frames, and of watched frames, since the alarm.
    frames: int = 0
    watched: int = 0
    #: Number of events so far, and of watched frames at the last event.
    events: int = 0
    published_at_frame: int = 0
    #: Levels of its signals when its kind was last determined.
    plateau: Level = field(default_factory=dict)
    #: Number of watched frames from which on its kind is determined.
    kind_at: int = KIND_FRAMES
    #: True if an update has something to report.
    has_unpublished: bool = False

    @property
    def data_signals(self) -> list[str]:
        """Signals of the episode for which detectors alarmed, without faults of the sensor."""
        return [name for name, change in self.changes.items() if change.detector != "sensor"]

    @property
    def dominant(self) -> str | None:
        """Signal that changed most."""
        return max(self.data_signals, key=lambda name: abs(self.changes[name].magnitude_sd), default=None)

    def by_size(self) -> list[SignalChange]:
        """Return the changes, the largest first."""
        return sorted(self.changes.values(), key=lambda change: -abs(change.magnitude_sd))

    def levels(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return means before and after, of the signals that changed by half a standard deviation or more."""
        clear = {name: self.changes[name] for name in self.data_signals}
        clear = {name: change for name, change in clear.items() if abs(change.magnitude_sd) >= CLEAR_SD}
        return {n: change.before for n, change in clear.items()}, {n: change.after for n, change in clear.items()}

    def reason(self) -> str:
        """Return one line for a person."""
        ordered = self.by_size()
        parts = [
            f"{c.signal} {_moved(c)} from {c.before:.3g} to {c.after:.3g} ({c.magnitude_sd:+.1f} sd)"
            for c in ordered[:3]
            if c.detector != "sensor"
        ]
        more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
        return "; ".join([*([CAUSES[self.cause]] if self.cause else []), *parts]) + more or "a signal changed"

    def state(self) -> Any:
        """Return the episode as JSON. The keys are those of stored snapshots, whatever the fields are called."""
        return {
            "episode_id": self.episode_id,
            "started_frame_id": self.started_frame_id,
            "started_at_us": self.started_at_us,
            "detected_frame_id": self.detected_frame_id,
            "detected_at_us": self.detected_at_us,
            "frames_before": self.frames_before,
            "cause": self.cause,
            "kind": self.kind,
            "changes": {name: asdict(change) for name, change in self.changes.items()},
            "frames_after": self.frames_after,
            "frames": self.frames,
            "watched": self.watched,
            "events": self.events,
            "said_at": self.published_at_frame,
            "plateau": dict(self.plateau),
            "kind_at": self.kind_at,
            "news": self.has_unpublished,
        }

    @classmethod
    def restored(cls, state: Any) -> TrackedEpisode:
        """Read a `state`; raise ValueError for anything else."""
        state = fields(state, _KEYS)
        changes = {name: _change(name, given) for name, given in mapping(state["changes"], MAX_SIGNALS + 2).items()}
        plateau = numbers(state["plateau"], MAX_SIGNALS + 1)
        if not plateau.keys() <= changes.keys():
            raise ValueError("an episode with a level of a signal that did not change")
        watched = whole(state["watched"], 0, MAX_INT)
        return cls(
            episode_id=text(state["episode_id"]),
            started_frame_id=text(state["started_frame_id"]),
            started_at_us=whole(state["started_at_us"], -MAX_LONG - 1),
            detected_frame_id=text(state["detected_frame_id"]),
            detected_at_us=whole(state["detected_at_us"], -MAX_LONG - 1),
            frames_before=tuple(text(frame_id) for frame_id in items(state["frames_before"], EXAMPLES)),
            cause=text(state["cause"]) if state["cause"] in ("", *CAUSES) else _no_cause(state["cause"]),
            kind=DriftKind(text(state["kind"])),
            changes=changes,
            frames_after=tuple(text(frame_id) for frame_id in items(state["frames_after"], EXAMPLES)),
            frames=whole(state["frames"], 0, MAX_INT),
            watched=watched,
            events=whole(state["events"], 0, MAX_INT),
            published_at_frame=whole(state["said_at"], 0, watched),
            plateau=plateau,
            kind_at=whole(state["kind_at"], 0, 2 * max(watched, KIND_FRAMES)),
            has_unpublished=flag(state["news"]),
        )


#: Keys of an episode in a snapshot.
_KEYS = (
    "episode_id", "started_frame_id", "started_at_us", "detected_frame_id", "detected_at_us", "frames_before", "cause",
    "kind", "changes", "frames_after", "frames", "watched", "events", "said_at", "plateau", "kind_at", "news",
)  # fmt: skip


def recurs(level: Level, before: Level, past: Sequence[Level], sds: Mapping[str, float]) -> bool:
    """Return True if a new level is one of the past levels, and not the one from before the change.

    Examples
    --------
    >>> recurs({"brightness": 101.0}, {"brightness": 150.0}, [{"brightness": 100.0}], {"brightness": 20.0})
    True
    >>> recurs({"brightness": 101.0}, {"brightness": 99.0}, [{"brightness": 100.0}], {"brightness": 20.0})
    False
    """

    def near(one: Level, other: Level) -> bool:
        return all(name in other and abs(one[name] - other[name]) <= CLEAR_SD * sds[name] for name in one)

    return bool(level) and not near(level, before) and any(near(level, known) for known in past)


def _change(name: str, given: Any) -> SignalChange:
    given = fields(given, ("signal", "detector", "before", "after", "magnitude_sd"))
    if given["signal"] != name:
        raise ValueError("a change of another signal than it says")
    numbers = (number_or_nan(given[one]) for one in ("before", "after", "magnitude_sd"))
    return SignalChange(name, text(given["detector"]), *numbers)


def _no_cause(value: Any) -> str:
    raise ValueError(f"{str(value)[:40]!r} is no cause")


def _moved(change: SignalChange) -> str:
    if abs(change.magnitude_sd) < RECOVERED_SD:
        return "is distributed otherwise,"
    return "rose" if change.magnitude_sd > 0 else "fell"
