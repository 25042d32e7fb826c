"""Behaviour of a gate while a camera drifts: do nothing, divert accepted parts to a person, or stop the line."""

from __future__ import annotations

from collections.abc import Mapping

from actuators.drift_watch import DriftSource, DriftStats
from actuators.fault import Fault, FaultLatch
from actuators.open_episodes import ANY_CAMERA, CameraKey, OpenEpisode
from actuators.settings import OnDrift
from schemas.clock import Clock
from schemas.errors import SettingsError


class DriftPolicy:
    """Policy that applies `OnDrift` to the open episodes of a watch. Only `open` and `close` may block.

    ``REVIEW`` diverts accepted parts to a person, while an episode is open on the part's camera and nobody has
    acknowledged it. ``STOP`` puts the gate into FAULT, once for each such episode in the life of the process, including
    the episodes found at the start. A person's reset ends this FAULT like any other.

    Raises
    ------
    SettingsError
        If drift is to have consequences, but there is no source of episodes.

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
        self._stopped_for: set[OpenEpisode] = set()
        #: Episodes of the last check, and a flag: True if one of them has yet to stop the line.
        self._looked_at: Mapping[CameraKey, tuple[OpenEpisode, ...]] | None = None
        self._waiting = False

    def open(self) -> None:
        """Open the source of episodes."""
        if self._source is not None:
            self._source.open()

    def close(self) -> None:
        """Close the source of episodes. Idempotent."""
        if self._source is not None:
            self._source.close()

    @property
    def stats(self) -> DriftStats | None:
        """State of the drift watch; None if it is not used."""
        return None if self._source is None else self._source.stats

    def diverts(self, station: str, camera_id: str) -> str | None:
        """Return the id of the episode that diverts an accepted part of this camera to REVIEW; None to accept."""
        if self._source is None or self._on_drift is not OnDrift.REVIEW:
            return None
        by_camera = self._source.episodes
        episodes = by_camera.get((station, camera_id)) or by_camera.get(ANY_CAMERA, ())
        return episodes[0].episode_id if episodes else None

    def stop(self, latch: FaultLatch, clock: Clock) -> None:
        """Latch a FAULT for an open episode that has not led to one yet. Call under the lock of the latch."""
        if self._source is None or self._on_drift is not OnDrift.STOP:
            return
        by_camera = self._source.episodes
        if by_camera is self._looked_at and (latch.fault is not None or not self._waiting):
            return  # nothing has changed; this code runs every few milliseconds
        self._looked_at = by_camera
        episodes = [episode for of_camera in by_camera.values() for episode in of_camera]
        self._stopped_for.intersection_update(episodes)
        for episode in episodes:
            fault_id = f"drift-{episode.episode_id}"
            subject = " ".join(f"drift on {episode.station}/{episode.camera_id}:".split())
            if latch.fault is not None:
                # A former run left the FAULT of this episode. A FAULT for another reason, or for another episode with
                # the same id, tells nothing about this one.
                is_left = latch.fault.fault_id == fault_id and latch.fault.reason.startswith(subject)
                if is_left and all(other.episode_id != episode.episode_id for other in self._stopped_for):
                    self._stopped_for.add(episode)
            elif episode not in self._stopped_for:
                reason = " ".join(f"{subject} {episode.reason}".split())
                latch.trip(Fault(fault_id, clock.utc_us(), f"{reason} (episode {episode.episode_id})"))
                self._stopped_for.add(episode)
        self._waiting = any(episode not in self._stopped_for for episode in episodes)
