"""Set of the cameras that drift now, from the events of the drift topic: pure, in bounded memory."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schemas.records import WARM_UP, DriftEvent, DriftType, EpisodeState

#: Station and camera.
CameraKey = tuple[str, str]
#: Identity of an episode: id, station, camera, type, start. The id alone proves nothing: any writer can send it.
_Identity = tuple[str, str, str, DriftType, int]

#: Stands for every camera, if more cameras are reported as drifting than can be remembered.
ANY_CAMERA: CameraKey = ("*", "*")
#: Longest name, in characters, as in the watch; events with longer names are refused. Reasons are cut to `_REASON`.
_LONGEST, _REASON = 1000, 300


@dataclass(frozen=True, slots=True)
class OpenEpisode:
    """Episode that is still open and not acknowledged."""

    episode_id: str
    station: str
    camera_id: str
    reason: str
    started_at_us: int = -1


class OpenEpisodes:
    """Episodes that are open and not acknowledged, from their events.

    Any writer can send an event, so one counts only if it fits its episode: the same id, station, camera, type and
    start. An end that fits no episode ends no episode. An acknowledgement needs an episode that was opened before it,
    and a name. An episode that is closed or acknowledged stays so, whatever events follow. Events that open an episode
    cannot be checked further: a false one diverts parts, or stops the line, and lets no part pass.

    Times are not compared with the clock of this machine. If it is behind, an episode of now seems to be of the future,
    and to refuse the episode would accept the parts of a camera that drifts.

    An episode that began in a declared warm-up of its camera does not count, unless a later event names another cause.

    Events of replays (``is_simulated``) are ignored, unless ``simulated`` is set: then all others are ignored.

    Parameters
    ----------
    station, drift_type
        Only episodes of this station, of this type; None: all.
    limit
        Most cameras with open episodes, and most closed episodes, that are remembered. With more cameras, each
        counts as drifting until the gate is started again (`ANY_CAMERA`).
    per_camera
        Most open episodes of one camera. With more, the camera counts as drifting until the gate is started again.

    Examples
    --------
    >>> episodes = OpenEpisodes()
    >>> episodes.by_camera
    mappingproxy({})
    """

    def __init__(
        self,
        *,
        station: str | None = None,
        drift_type: DriftType | None = None,
        limit: int = 1024,
        per_camera: int = 16,
        simulated: bool = False,
    ) -> None:
        self._station = station
        self._drift_type = drift_type
        self._limit = limit
        self._per_camera = per_camera
        self._simulated = simulated
        self._open: dict[CameraKey, dict[_Identity, OpenEpisode]] = {}
        self._over: OrderedDict[_Identity, None] = OrderedDict()
        self._snapshot: Mapping[CameraKey, tuple[OpenEpisode, ...]] | None = None
        #: Events by outcome: taken, simulated, other, warm-up, implausible, unfit; and forgotten episodes.
        self.counts: Counter[str] = Counter()

    def take(self, event: DriftEvent) -> bool:
        """Apply an event; return True if it changed the set of open episodes."""
        became, has_changed = self._take(event)
        self.counts[became] += 1
        if has_changed:
            self._snapshot = None
        return has_changed

    @property
    def by_camera(self) -> Mapping[CameraKey, tuple[OpenEpisode, ...]]:
        """Episodes that are open now, oldest first, by camera; the mapping does not change afterwards."""
        if self._snapshot is None:
            found = {camera: tuple(episodes.values()) for camera, episodes in self._open.items()}
            self._snapshot = MappingProxyType(found)
        return self._snapshot

    def _take(self, event: DriftEvent) -> tuple[str, bool]:
        if event.is_simulated is not self._simulated:
            return "simulated", False
        if self._station not in (None, event.station) or self._drift_type not in (None, event.drift_type):
            return "other", False
        if not self._is_plausible(event):
            return "implausible", False
        if event.cause == WARM_UP and event.state in (EpisodeState.OPENED, EpisodeState.UPDATED):
            return "warm-up", False
        camera = (event.station, event.camera_id)
        name = (event.episode_id, *camera, event.drift_type, event.started_at_us)
        of_camera = self._open.get(camera, {})
        if event.state is EpisodeState.ACKNOWLEDGED:
            if not (event.acknowledged_by or "").strip() or (name not in of_camera and name not in self._over):
                return "unfit", False
            return "taken", self._end(camera, name)
        if event.state is EpisodeState.CLOSED:
            # The event that opened the episode may have expired; later events of the same episode do not open it.
            return "taken", self._end(camera, name)
        if name in self._over or name in of_camera:
            return "taken", False
        return "taken", self._begin(camera, name, event)

    def _begin(self, camera: CameraKey, name: _Identity, event: DriftEvent) -> bool:
        reason = event.reason[:_REASON]
        if camera not in self._open and len(self._open) >= self._limit:
            self.counts["forgotten"] += 1
            reason = f"more than {self._limit} cameras are said to drift, the last of them {camera[0]}/{camera[1]}"
            return self._mark(ANY_CAMERA, "too-many-cameras", reason)
        of_camera = self._open.setdefault(camera, {})
        if len(of_camera) >= self._per_camera:
            self.counts["forgotten"] += 1
            reason = f"more than {self._per_camera} episodes are open"
            return self._mark(camera, "too-many-episodes", reason)
        of_camera[name] = OpenEpisode(event.episode_id, *camera, reason, event.started_at_us)
        return True

    def _mark(self, camera: CameraKey, episode_id: str, reason: str) -> bool:
        name = (episode_id, *camera, DriftType.DATA, -1)
        episodes = self._open.setdefault(camera, {})
        is_new = name not in episodes
        episodes[name] = OpenEpisode(episode_id, *camera, reason)
        return is_new

    def _end(self, camera: CameraKey, name: _Identity) -> bool:
        self._over[name] = None
        self._over.move_to_end(name)
        if len(self._over) > 4 * self._limit:
            self._over.popitem(last=False)
        of_camera = self._open.get(camera, {})
        was_open = of_camera.pop(name, None) is not None
        if was_open and not of_camera:
            del self._open[camera]
        return was_open

    def _is_plausible(self, event: DriftEvent) -> bool:
        """Return True if a watch can have sent an event with these names and states."""
        names = (event.episode_id, event.station, event.camera_id)
        if not all(0 < len(name) <= _LONGEST for name in names) or event.started_at_us < 0:
            return False
        return event.state not in (EpisodeState.OPENED, EpisodeState.UPDATED) or event.closed_at_us is None
