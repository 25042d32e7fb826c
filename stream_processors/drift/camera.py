"""One camera under watch: decisions in, events of drift episodes out. No Kafka, and no clock of its own."""

from __future__ import annotations

import json
import zlib
from collections import Counter, deque
from collections.abc import Callable

from models.reference import SignalReferences
from schemas.records import Decision, DriftEvent, EpisodeState
from stream_processors.drift.event import event_of
from stream_processors.drift.keeper import EpisodeKeeper
from stream_processors.drift.options import DriftOptions
from stream_processors.drift.segment import Segment
from stream_processors.drift.sensor import SensorCheck

#: Training references for a model (by sha256) and a product; None where there are none.
ReferencesOf = Callable[[str, str | None], SignalReferences | None]

_STATE_VERSION = 1
#: Frames whose ids are known, so that a decision read twice counts once.
_KNOWN_FRAMES = 500
#: Frames by which a decision may be late and still be of the present.
_NEIGHBOURS = 64
_MAX_STATE_BYTES = 4 * 1024 * 1024


class StateError(ValueError):
    """Bytes that are no state of a camera under watch."""


class CameraWatch:
    """Watches the decisions of one camera.

    Parameters
    ----------
    references_of
        Training references, see `models.reference`.
    options
        See `DriftOptions`.

    Examples
    --------
    >>> watch = CameraWatch(lambda model, product: None)
    >>> CameraWatch.restored(watch.state(), lambda model, product: None).counts
    Counter()
    """

    def __init__(self, references_of: ReferencesOf, options: DriftOptions | None = None) -> None:
        self._references_of = references_of
        self._options = options or DriftOptions()
        self._identity: dict[str, str | None] = {}
        self._segment = Segment(None, self._options)
        self._sensor = SensorCheck()
        self._keeper = EpisodeKeeper(self._options.settle_frames)
        self._known: deque[str] = deque(maxlen=_KNOWN_FRAMES)
        self._newest = (0, -1)
        #: Why the detectors began anew, the last time that they did.
        self.last_reset = ""
        #: Decisions by what became of them (``watched``, ``duplicate``, ``old``, ``not-champion``, ``not-inspected``),
        #: ``resets``, and signals that were ``missing:`` or ``not-a-number:``.
        self.counts: Counter[str] = Counter()

    @property
    def stride(self) -> int:
        """One frame in so many is watched, see `stream_processors.drift.thinning`."""
        return self._segment.stride

    @property
    def in_episode(self) -> bool:
        """Whether an episode is open."""
        return self._keeper.episode is not None

    def decision(self, decision: Decision, *, now_us: int) -> list[DriftEvent]:
        """Take the next decision of the camera; ``now_us`` (UTC) is put on the events."""
        skipped = self._why_not(decision)
        if skipped:
            self.counts[skipped] += 1
            return []
        events = self._reset_if_other(decision, now_us)
        if not decision.signals:
            self.counts["not-inspected"] += 1
            return events
        self.counts["watched"] += 1
        self._sensor.look(decision, self._segment.references)
        looked = self._segment.look(decision, self.counts, in_episode=self.in_episode)
        said = self._keeper.look(decision, looked, self._segment, self._sensor, self._known)
        if said is None:
            return events
        state, closed_because = said
        events.append(self._event(state, decision, now_us, closed_because))
        if state is EpisodeState.CLOSED:
            self._keeper.closed()
            settled = closed_because == "settled"
            self._segment = self._segment.relearned() if settled else self._segment.restarted()
        return events

    def _why_not(self, decision: Decision) -> str:
        if decision.model_stage != "champion" or decision.is_simulated is not self._options.simulated:
            return "not-champion"
        if decision.frame_id in self._known:
            return "duplicate"
        started, sequence = self._newest
        # A worker answers several frames at a time, so neighbours may change places.
        if (decision.started_at_us, decision.sequence + _NEIGHBOURS) < (started, sequence):
            return "old"  # a spool that catches up: the past is no drift of the present
        self._newest = max(self._newest, (decision.started_at_us, decision.sequence))
        self._known.append(decision.frame_id)
        return ""

    def _reset_if_other(self, decision: Decision, now_us: int) -> list[DriftEvent]:
        identity = {
            "product": decision.attributes.get(self._options.product_attribute),
            "model": decision.model_sha256,
            "recipe": f"{decision.recipe_id} {decision.recipe_revision}",
        }
        before = self._identity
        if identity == before:
            return []
        events = []
        if before:
            changed = [f"{name} {before[name]} -> {now}" for name, now in identity.items() if now != before[name]]
            self.last_reset = f"reset: {', '.join(changed)}"
            self.counts["resets"] += 1
            if self.in_episode:
                events.append(self._event(EpisodeState.CLOSED, decision, now_us, self.last_reset))
        self._keeper.forget()
        self._identity = identity
        self._segment = Segment(self._references_of(decision.model_sha256, identity["product"]), self._options)
        return events

    def _event(self, state: EpisodeState, decision: Decision, now_us: int, closed_because: str) -> DriftEvent:
        episode = self._keeper.episode
        assert episode is not None
        product = self._identity["product"]
        return event_of(episode, state, decision, product=product, now_us=now_us, closed_because=closed_because)

    def state(self) -> bytes:
        """All that it knows, compressed: 20 to 60 KiB with ten signals, whatever the traffic."""
        plain = {
            "version": _STATE_VERSION,
            "identity": self._identity,
            "segment": self._segment.state(),
            "sensor": self._sensor.state(),
            "keeper": self._keeper.state(),
            "known": list(self._known),
            "newest": self._newest,
            "last_reset": self.last_reset,
            "counts": dict(self.counts),
        }
        return zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 1)

    @classmethod
    def restored(cls, state: bytes, references_of: ReferencesOf, options: DriftOptions | None = None) -> CameraWatch:
        """Go on from a `state`.

        Raises
        ------
        StateError
            If it is none, or of another version: the camera is then watched from the start.
        """
        watch = cls(references_of, options)
        unpack = zlib.decompressobj()
        try:
            plain = json.loads(unpack.decompress(state, _MAX_STATE_BYTES))
            if plain["version"] != _STATE_VERSION:
                raise StateError(f"a state of version {plain['version']!r}")
            watch._identity = {str(n): v if v is None else str(v) for n, v in plain["identity"].items()}
            watch._segment = Segment.restored(plain["segment"], watch._options)
            watch._sensor.restore(plain["sensor"])
            watch._keeper.restore(plain["keeper"])
            watch._known.extend(str(frame_id) for frame_id in plain["known"])
            started, sequence = plain["newest"]
            watch._newest = (int(started), int(sequence))
            watch.last_reset = str(plain["last_reset"])
            watch.counts.update({str(name): int(count) for name, count in plain["counts"].items()})
        except (zlib.error, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise StateError(f"no state of a camera: {type(error).__name__} {error}") from error
        return watch
