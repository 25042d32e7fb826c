"""Prometheus metrics of the keys that a program believes, read at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.clock import Clock
from transport.key_follower import KeyFollower
from transport.public_keys import SignerRole
from transport.trust import Trust


class KeyMetrics(Collector):
    """Metrics of a trust folder, and of the topic of keys if it is followed.

    Parameters
    ----------
    follower
        None: no topic is followed, and the metrics of the topic are left out.
    """

    def __init__(self, trust: Trust, follower: KeyFollower | None, clock: Clock) -> None:
        self._trust = trust
        self._follower = follower
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield one snapshot as metric families."""
        in_force = self._trust.keys.in_force(self._clock.utc_us())
        numbers = Counter(key.role for key in in_force.values())
        keys = GaugeMetricFamily(
            "inspection_signing_keys", "Public keys that are believed at this moment, by role", labels=["role"]
        )
        for role in SignerRole:
            keys.add_metric([role], numbers[role])
        yield keys
        if self._follower is None:
            return
        yield GaugeMetricFamily(
            "inspection_key_topic_connected",
            "1 while the topic of keys is read up to now and the broker answers",
            value=float(self._follower.connected),
        )
        refused = GaugeMetricFamily(
            "inspection_key_topic_refused_entries", "Entries of the topic of keys that are not used", labels=["why"]
        )
        for why, number in sorted(self._follower.faults.items()):
            refused.add_metric([why], number)
        yield refused
