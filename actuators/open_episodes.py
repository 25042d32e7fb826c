"""Which cameras drift right now, by what was said on the drift topic: pure, in bounded memory."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schemas.records import WARM_UP, DriftEvent, DriftType, EpisodeState

#: Station and camera.
Camera = tuple[str, str]


@dataclass(frozen=True, slots=True)
class OpenEpisode:
    """An episode that goes on, and of which nobody has taken note."""

    episode_id: str
    station: str
    camera_id: str
    reason: str


class OpenEpisodes:
    """Takes events in any order and says which episodes are open and not acknowledged.

    An episode that began in a declared warm-up of its camera does not count, unless a later event names another cause.

    Once closed, or acknowledged by a person with a name, an episode stays so, whatever else is said of it. Of replays
    (``is_simulated``) nothing is taken, unless ``simulated``: then nothing else is.

    Parameters
    ----------
    station, drift_type
        Only episodes of this station, of this type; None: all.
    limit
        Most episodes remembered that are open, and most that are over. Beyond it the oldest is forgotten.

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
        limit: int = 4096,
        simulated: bool = False,
    ) -> None:
        self._station = station
        self._drift_type = drift_type
        self._limit = limit
        self._simulated = simulated
        self._open: OrderedDict[str, OpenEpisode] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        #: Events by what became of them: taken, simulated, other, warm-up, forgotten.
        self.tally: Counter[str] = Counter()

    def take(self, event: DriftEvent) -> bool:
        """Take an event; whether that changed what is open."""
        if event.is_simulated is not self._simulated:
            self.tally["simulated"] += 1
            return False
        if self._station not in (None, event.station) or self._drift_type not in (None, event.drift_type):
            self.tally["other"] += 1
            return False
        name = event.episode_id
        if event.cause == WARM_UP and not _ends(event):
            self.tally["warm-up"] += 1
            return False
        self.tally["taken"] += 1
        if _ends(event):
            self._over[name] = None
            self._over.move_to_end(name)
            if len(self._over) > self._limit:
                self._over.popitem(last=False)
            return self._open.pop(name, None) is not None
        if name in self._over or name in self._open:
            return False
        self._open[name] = OpenEpisode(name, event.station, event.camera_id, event.reason)
        if len(self._open) > self._limit:
            self._open.popitem(last=False)
            self.tally["forgotten"] += 1
        return True

    @property
    def by_camera(self) -> Mapping[Camera, tuple[OpenEpisode, ...]]:
        """What is open now, oldest first; it does not change afterwards."""
        found: dict[Camera, tuple[OpenEpisode, ...]] = {}
        for episode in self._open.values():
            camera = (episode.station, episode.camera_id)
            found[camera] = (*found.get(camera, ()), episode)
        return MappingProxyType(found)


def _ends(event: DriftEvent) -> bool:
    """Whether an event says that no gate need mind the episode any more."""
    if event.state is EpisodeState.ACKNOWLEDGED and (event.acknowledged_by or "").strip():
        return True
    return event.state is EpisodeState.CLOSED or event.closed_at_us is not None
