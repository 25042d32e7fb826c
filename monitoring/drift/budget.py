"""Thresholds of the detectors, computed from a budget of false alarms.

Dozens of tests run on each camera: two sides of a Page-Hinkley test, ADWIN and a test of shape for each signal, and one
of the reject rate. The budget of a camera is divided among them evenly. False alarms of several tests add up at most
(the union bound), whatever their dependence, so the camera stays within its budget.

Run length of the one-sided Page-Hinkley (CUSUM) test: D. Siegmund, "Sequential Analysis" (1985), formula as in
Basseville and Nikiforov, "Detection of Abrupt Changes" (1993), chapter 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from schemas.errors import SettingsError

#: Tests of each signal: up, down, ADWIN, shape.
TESTS_PER_SIGNAL = 4
#: Addition to the threshold of a CUSUM of standard normal steps for discreteness: Siegmund's 2 * 0.583.
_OVERSHOOT = 1.166


@dataclass(frozen=True, slots=True)
class Budget:
    """Budget of false alarms of a stationary camera.

    Parameters
    ----------
    alarms_per_day
        Expected number, per camera and day.
    frames_per_day
        Frames of a camera; two parts a second around the clock are 172,800.

    Examples
    --------
    >>> Budget().frames_per_alarm
    864000.0
    """

    alarms_per_day: float = 0.2
    frames_per_day: float = 172_800.0

    def __post_init__(self) -> None:
        if not 0 < self.alarms_per_day <= 1000:
            raise SettingsError(f"false alarms per day: more than 0, at most 1000, not {self.alarms_per_day:g}")
        if not 1 <= self.frames_per_day <= 1e9:
            raise SettingsError(f"frames per day: from 1 to 1e9, not {self.frames_per_day:g}")

    @property
    def frames_per_alarm(self) -> float:
        """Mean number of frames between two false alarms of a camera."""
        return self.frames_per_day / self.alarms_per_day

    def frames_per_alarm_of_a_test(self, signals: int) -> float:
        """Return the mean number of frames between two false alarms of one test, if ``signals`` signals are tested."""
        return self.frames_per_alarm * (TESTS_PER_SIGNAL * signals + 1)


def cusum_run_length(threshold: float, slack: float) -> float:
    """Return the mean steps to a false alarm of a one-sided CUSUM of standard normal steps less ``slack``.

    Examples
    --------
    >>> round(cusum_run_length(5, 0.5))  # 938 in the textbook's table
    938
    """
    exponent = 2 * slack * (threshold + _OVERSHOOT)
    return (math.exp(exponent) - exponent - 1) / (2 * slack * slack)


def cusum_threshold(run_length: float, slack: float) -> float:
    """Return the threshold with which the mean steps to a false alarm are ``run_length``.

    Examples
    --------
    >>> round(cusum_threshold(938, 0.5), 2)
    5.0
    """
    low, high = 0.0, 400.0 / slack
    for _ in range(80):
        middle = (low + high) / 2
        try:
            short = cusum_run_length(middle, slack) < run_length
        except OverflowError:
            short = False
        low, high = (middle, high) if short else (low, middle)
    return high
