"""Drift: watch over the images of each camera, one camera at a time. Pure: no Faust, no Kafka.

A decision's signals become normal scores (`models.reference`); neighbours that resemble each other are thinned
(`thinning`); `detectors` with thresholds from a `budget` of false alarms test each signal (`detector_bank`);
`sensor` names faults of cameras; and `episode_tracker` makes an episode of these observations.
"""

from monitoring.drift.budget import Budget
from monitoring.drift.camera import CameraWatch, ReferencesOf
from monitoring.drift.options import DriftOptions
from monitoring.errors import StateError

__all__ = ["Budget", "CameraWatch", "DriftOptions", "ReferencesOf", "StateError"]
