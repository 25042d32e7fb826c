"""Prometheus metrics of a gateway, beside those that every camera has (`producers.stats.PublisherMetrics`)."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.line import GatewayLine
from producers.stats import PublisherMetrics

_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_CAME = "gateway.came_s"


class GatewayMetrics:
    """Metrics of the answers and of the requests at hand, in one registry with those of the cameras.

    Examples
    --------
    >>> metrics = GatewayMetrics()
    >>> scope = {"type": "http", "method": "GET"}
    >>> metrics.came(scope)
    >>> metrics.answered(scope, 404)
    >>> metrics.registry.get_sample_value("inspection_gateway_answers_total", {"route": "other", "status": "404"})
    1.0
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.publishers = PublisherMetrics(registry)
        name = "inspection_gateway_"
        self._answers = Counter(name + "answers", "Answers", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            name + "answer_seconds", "Time to the answer", ["route"], buckets=_BUCKETS_S, registry=registry
        )
        self._waiting = Gauge(name + "waiting", "Requests that wait for a decision", registry=registry)
        self._at_hand = Gauge(name + "at_hand", "Requests at hand", registry=registry)
        self._body_bytes = Gauge(name + "body_bytes", "Bytes of bodies in memory", registry=registry)
        self._kept = Gauge(name + "kept_decisions", "Decisions that are kept", registry=registry)
        self._undecodable = Gauge(name + "undecodable", "Messages that are no decisions", registry=registry)

    def follow(self, line: GatewayLine) -> None:
        """Show the state of the line at each scrape."""
        self._waiting.set_function(lambda: len(line.waiting))
        self._at_hand.set_function(lambda: line.load.at_hand)
        self._body_bytes.set_function(lambda: line.memory.used_bytes)
        self._kept.set_function(lambda: len(line.reader.index))
        self._undecodable.set_function(lambda: line.reader.undecodable)

    def text(self) -> bytes:
        """Return the metrics of this process in the text format of Prometheus."""
        return generate_latest(self.registry)

    def came(self, scope: MutableMapping[str, Any]) -> None:
        """Note the arrival of a request."""
        scope[_CAME] = time.monotonic()

    def answered(self, scope: MutableMapping[str, Any], status: int) -> None:
        """Count an answer."""
        route = getattr(scope.get("route"), "path", "other")
        self._answers.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(time.monotonic() - scope[_CAME])
