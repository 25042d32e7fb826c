"""What a gate does while a camera drifts: nothing, divert accepted parts to a person, or stop the line."""

from __future__ import annotations

from collections.abc import Mapping

from actuators.drift_watch import DriftSource, DriftStats
from actuators.fault import Fault, FaultLatch
from actuators.open_episodes import ANY_CAMERA, Camera, OpenEpisode
from actuators.settings import OnDrift
from schemas.clock import Clock
from schemas.errors import SettingsError


class DriftPolicy:
    """Applies `OnDrift` to what a watch knows; nothing here waits for anything, except `open` and `close`.

    ``REVIEW`` diverts what would be accepted, as long as an episode is open on the part's camera and nobody has
    acknowledged it. ``STOP`` puts the gate into FAULT, once for each such episode in the life of the process, those
    found at the start included; a person's reset ends the FAULT as any other.

    Raises
    ------
    SettingsError
        If drift is to have consequences, and there is nothing to learn of it from.

    Examples
    --------
    >>> DriftPolicy(OnDrift.NOTHING, None).diverts("press-1", "top")
    >>> DriftPolicy(OnDrift.REVIEW, None)
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: on_drift is review: the gate needs a DriftWatch
    """

    def __init__(self, on_drift: OnDrift, source: DriftSource | None) -> None:
        if on_drift is not OnDrift.NOTHING and source is None:
            raise SettingsError(f"on_drift is {on_drift}: the gate needs a DriftWatch")
        self._on_drift = on_drift
        self._source = None if on_drift is OnDrift.NOTHING else source
        self._stopped_for: set[str] = set()
        #: The episodes checked last, and a flag: True if one of them has yet to stop the line.
        self._looked_at: Mapping[Camera, tuple[OpenEpisode, ...]] | None = None
        self._waiting = False

    def open(self) -> None:
        """Begin to watch."""
        if self._source is not None:
            self._source.open()

    def close(self) -> None:
        """End it; may be called again."""
        if self._source is not None:
            self._source.close()

    @property
    def stats(self) -> DriftStats | None:
        """How the watch is; None without one."""
        return None if self._source is None else self._source.stats

    def diverts(self, station: str, camera_id: str) -> str | None:
        """Id of the episode that sends an accepted part of this camera to REVIEW; None: it is accepted."""
        if self._source is None or self._on_drift is not OnDrift.REVIEW:
            return None
        by_camera = self._source.episodes
        episodes = by_camera.get((station, camera_id)) or by_camera.get(ANY_CAMERA, ())
        return episodes[0].episode_id if episodes else None

    def stop(self, latch: FaultLatch, clock: Clock) -> None:
        """Latch a FAULT for an open episode that has not led to one yet; under the lock of the latch."""
        if self._source is None or self._on_drift is not OnDrift.STOP:
            return
        by_camera = self._source.episodes
        if by_camera is self._looked_at and (latch.fault is not None or not self._waiting):
            return  # nothing is new; this runs every few milliseconds
        self._looked_at = by_camera
        episodes = [episode for of_camera in by_camera.values() for episode in of_camera]
        self._stopped_for &= {episode.episode_id for episode in episodes}
        for episode in episodes:
            fault_id = f"drift-{episode.episode_id}"
            if latch.fault is not None:
                # A FAULT of this episode that a former run left; one for another reason says nothing of drift.
                if latch.fault.fault_id == fault_id:
                    self._stopped_for.add(episode.episode_id)
            elif episode.episode_id not in self._stopped_for:
                reason = " ".join(f"drift on {episode.station}/{episode.camera_id}: {episode.reason}".split())
                latch.trip(Fault(fault_id, clock.utc_us(), f"{reason} (episode {episode.episode_id})"))
                self._stopped_for.add(episode.episode_id)
        self._waiting = any(episode.episode_id not in self._stopped_for for episode in episodes)
