"""Sending of the frames of a spool without its camera."""

from __future__ import annotations

import time
from collections.abc import Callable

from producers.kafka_sender import KafkaSender
from producers.options import PublisherOptions
from producers.spool import Spool, SpoolCounts, SpoolFile, SpoolOptions, SpoolUnwritable, read_counts
from producers.stats import PublisherCounters, PublisherMetrics
from schemas.clock import SystemClock
from schemas.settings import KafkaSettings
from transport.admin import require_topics

_POLL_S = 0.05


def drain_spool(
    kafka: KafkaSettings,
    file: SpoolFile,
    *,
    timeout_s: float = float("inf"),
    on_left: Callable[[int], object] = lambda _: None,
) -> SpoolCounts:
    """Send the frames of a spool in order until it is empty or the time is over; return its counts after that.

    Parameters
    ----------
    kafka
        Settings of the destination: the frames topic under the settings' prefix.
    on_left
        Called every 50 ms with the number of frames left.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        Before any frame is sent.
    SpoolInUse
        If the camera's publisher runs: it drains the spool itself.
    SpoolUnwritable
        If the disk does not take the deletions.
    SenderStopped
        If a fault of the program has ended the sending.
    """
    require_topics(kafka, [kafka.frames])
    options = SpoolOptions(directory=file.path.parent.parent)
    spool = Spool(file.path, options)
    sender = KafkaSender(
        kafka,
        kafka.frames,
        file.camera,
        started_at_us=-1,  # no frame is of this start
        options=PublisherOptions(),
        counters=PublisherCounters(file.camera, PublisherMetrics()),
        clock=SystemClock(),
        spool=spool,
        spool_options=options,
    )
    deadline_s = time.monotonic() + timeout_s
    left = 0
    try:
        while (left := sender.backlog) and time.monotonic() < deadline_s:
            sender.check_running()
            on_left(left)
            time.sleep(_POLL_S)
        sender.check_running()
        left = sender.backlog
        on_left(left)
    finally:
        sender.close()
    counts = read_counts(file.path)
    if counts.frames > left:
        raise SpoolUnwritable(
            f"{counts.frames - left} frames of {file.path} are in Kafka and cannot be deleted: its disk takes no "
            "change; they are sent again with the next drain"
        )
    return counts
