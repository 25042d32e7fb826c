"""Small frames for a worker that runs long: some frames always wait for the worker, but never many."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from benchmarks.line_topics import PARTITIONS, QUIET, await_leaders, ends, make_frame, place
from benchmarks.workloads import images
from schemas.codec import encode

SIZE_WH = (64, 64)
NETWORK = "tiny"
_AHEAD = 4000
_LOOK_S = 0.1
_STALLED_S = 30.0


def feed(
    bootstrap_servers: str, prefix: str, cameras: Sequence[str], is_enough: Callable[[int, float], bool]
) -> list[tuple[float, int]]:
    """Send frames of all cameras in turns until ``is_enough`` returns True.

    Parameters
    ----------
    is_enough
        Callback, ten times a second. It gets the decisions so far and the seconds since the first decision.

    Returns
    -------
    list of tuple
        Times (seconds since 1970) and the number of decisions until each of them.

    Raises
    ------
    RuntimeError
        If no further decision comes within 30 s.
    """
    pictures = images(SIZE_WH, True)
    digests = [hashlib.sha256(picture).hexdigest() for picture in pictures]
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **QUIET})
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 5, **QUIET})
    frames, decisions = f"{prefix}.frames", f"{prefix}.decisions"
    await_leaders(bootstrap_servers, [frames, decisions])
    begin = sum(ends(bootstrap_servers, decisions, admin=admin))
    seen: list[tuple[float, int]] = []
    sent, changed_s, first_s = 0, time.time(), 0.0
    while True:
        now_s, decided = time.time(), sum(ends(bootstrap_servers, decisions, admin=admin)) - begin
        if not seen or decided != seen[-1][1]:
            changed_s = now_s
        elif now_s - changed_s > _STALLED_S:
            raise RuntimeError(f"no decisions after the first {decided}")
        first_s = first_s or (now_s if decided else 0.0)
        seen.append((now_s, decided))
        if first_s and is_enough(decided, now_s - first_s):
            producer.purge()
            producer.flush(5)
            return seen
        while sent < decided + _AHEAD:
            camera, number, picture = sent % len(cameras), sent // len(cameras), sent % len(pictures)
            frame = make_frame(pictures[picture], SIZE_WH, cameras[camera], number, sha256=digests[picture])
            partition = place(camera, len(cameras), PARTITIONS)
            producer.produce(frames, encode(frame), f"bench/{cameras[camera]}", partition=partition)
            producer.poll(0)
            sent += 1
        time.sleep(_LOOK_S)
