"""Prometheus metrics of a sink."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from replay.archive.commits import Commit
from replay.archive.follower import Partition


class ArchiveMetrics:
    """Counters and gauges of one sink.

    Examples
    --------
    >>> metrics = ArchiveMetrics()
    >>> metrics.lag(Partition("inspection.frames", 0), 7)
    >>> labels = {"topic": "inspection.frames", "partition": "0"}
    >>> metrics.registry.get_sample_value("inspection_archive_lag_offsets", labels)
    7.0
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._lag = Gauge(
            "inspection_archive_lag_offsets", "Offsets not read yet", ["topic", "partition"], registry=registry
        )
        self._waiting = Gauge(
            "inspection_archive_waiting_bytes", "Bytes of messages read that wait for a commit", registry=registry
        )
        self._bytes = Counter("inspection_archive_bytes", "Bytes of data files", ["topic"], registry=registry)
        self._files = Counter("inspection_archive_files", "Data files", ["topic"], registry=registry)
        self._records = Counter("inspection_archive_messages", "Messages archived", ["topic"], registry=registry)
        self._unreadable = Counter(
            "inspection_archive_unreadable", "Messages archived that are no such record", ["topic"], registry=registry
        )
        self._deleted = Counter(
            "inspection_archive_deleted_offsets", "Offsets deleted before they were archived", ["topic"],
            registry=registry,
        )  # fmt: skip
        self._references = Counter(
            "inspection_archive_references", "Frames archived without their image", registry=registry
        )
        self._committed = Gauge(
            "inspection_archive_last_commit_timestamp_seconds", "When the last commit was made", registry=registry
        )
        self._unreachable = Gauge(
            "inspection_archive_away", "1 while a write is tried again: archive or broker do not answer",
            registry=registry,
        )  # fmt: skip

    def lag(self, partition: Partition, offsets: int | None) -> None:
        """Set the number of offsets that are not read yet."""
        if offsets is not None:
            self._lag.labels(partition.topic, str(partition.number)).set(offsets)

    def waiting(self, size_bytes: int) -> None:
        """Set the number of bytes that wait for a commit."""
        self._waiting.set(size_bytes)

    def committed(self, commit: Commit) -> None:
        """Count a commit."""
        topic = commit.topic
        self._bytes.labels(topic).inc(sum(file.size_bytes for file in commit.files))
        self._files.labels(topic).inc(len(commit.files))
        self._records.labels(topic).inc(sum(file.records for file in commit.files))
        self._unreadable.labels(topic).inc(sum(file.unreadable for file in commit.files))
        if commit.deleted_from is not None:
            self._deleted.labels(topic).inc(commit.begin - commit.deleted_from)
        self._committed.set(commit.committed_at_us / 1e6)

    def reference_kept(self) -> None:
        """Count a frame whose image could not be fetched."""
        self._references.inc()

    def unreachable(self, is_unreachable: bool) -> None:
        """Set the gauge to 1 while writes do not succeed."""
        self._unreachable.set(is_unreachable)
