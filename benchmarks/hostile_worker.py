"""Benchmark of a real worker with little memory: damaged and hostile images from a real broker.

    python -m benchmarks.hostile_worker --count 20000 [FILE ...]

Mutations of small images (`benchmarks.hostile_images.mutated`) and the given files are published as frames without a
deadline, with healthy frames between them. The worker has a limit on its memory (RLIMIT_DATA). The findings: answers by
result state and kind, death of the worker, its peak of memory over idle, and the slowest decode and inference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.hostile_images import mutated, seed_images
from benchmarks.output import progress
from infra.broker import LocalBroker
from infra.demo.processes import WorkerProcess
from models.image_header import read_header
from replay import read_topic
from schemas import Codec, DeadLetter, Decision, Frame, KafkaSettings
from schemas.ids import frame_id
from schemas.topics import FRAMES, MAX_REQUEST_BYTES
from transport.topic_setup import apply

_MIB = 1024 * 1024
#: Number of healthy frames before the first hostile one, and interval of healthy frames after it.
_WARM_UP, _EVERY = 200, 50


def frame_of(data: bytes, number: int) -> Frame:
    """Return a frame with any bytes as its image, and with the facts of the image header if it can be read."""
    header = read_header(data)
    return Frame(
        frame_id=frame_id("hostile", "cam", 1, number), line="line", station="hostile", camera_id="cam",
        started_at_us=1, sequence=number, captured_at_us=time.time_ns() // 1000, encoding=header.encoding,
        width=header.width, height=header.height, sha256=hashlib.sha256(data).hexdigest(), image=data,
    )  # fmt: skip


def status_kib(pid: int, name: str) -> int:
    """Return a figure of ``/proc/PID/status`` in KiB, such as VmRSS or VmHWM."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


class _Sender:
    def __init__(self, kafka: KafkaSettings) -> None:
        self._topic = kafka.frames
        self._producer = Producer(
            {"bootstrap.servers": kafka.bootstrap_servers, "message.max.bytes": MAX_REQUEST_BYTES, "linger.ms": 5}
        )
        self._codec = Codec()
        self.sent = 0

    def send(self, images: Iterator[bytes]) -> None:
        """Publish each image as a frame, over all partitions in turn."""
        for data in images:
            frame = frame_of(data, self.sent)
            while True:
                try:
                    partition = self.sent % FRAMES.partitions
                    self._producer.produce(self._topic, self._codec.encode(frame), frame.key, partition=partition)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
            self.sent += 1
        if self._producer.flush(60):
            raise SystemExit("the broker does not take the frames")


def _with_healthy(images: Iterator[bytes], healthy: bytes) -> Iterator[bytes]:
    for number, data in enumerate(images):
        if number % _EVERY == 0:
            yield healthy
        yield data


def _await(worker: WorkerProcess, count: int) -> bool:
    """Wait until this number of frames is answered; return False if the worker ended."""
    while (done := worker.metric("inspection_decisions_total")) < count:
        if not worker.alive():
            return False
        progress(f"{done:.0f} of {count} answered")
        time.sleep(2)
    return True


def run(count: int, seed: int, limit_mib: int, files: list[Path]) -> dict[str, object]:
    """Start broker and worker, send everything, and return the findings."""
    healthy = seed_images()[0]
    images = chain([path.read_bytes() for path in files] * 2, mutated(count, seed))
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "broker", port=0) as broker:
        kafka = KafkaSettings(broker.bootstrap_servers)
        apply(kafka)
        log = Path(folder) / "worker.log"
        sender = _Sender(kafka)
        options = ["--overload", "everything", "--watchdog-s", "60", "--state-dir", folder]
        with WorkerProcess(kafka, model=None, group="hostile", log=log, options=options) as worker:
            worker.await_ready()
            sender.send(healthy for _ in range(_WARM_UP))
            _await(worker, sender.sent)
            resource.prlimit(worker.pid, resource.RLIMIT_DATA, (limit_mib * _MIB,) * 2)
            Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # reset the peak of memory
            idle_kib = status_kib(worker.pid, "VmRSS")
            sender.send(
                each for n, data in enumerate(images) for each in ((healthy, data) if n % _EVERY == 0 else (data,))
            )
            lives = _await(worker, sender.sent)
            over_mib = (status_kib(worker.pid, "VmHWM") - idle_kib) / 1024 if lives else None
        decisions = [Codec().decode(message.value, Decision) for message in read_topic(kafka, kafka.decisions)]
        letters = [Codec().decode(message.value, DeadLetter) for message in read_topic(kafka, kafka.dead_letters)]
    took_ms = [sum(ms for name, ms in one.durations_ms.items() if name != "queue") for one in decisions]
    return {
        "frames": sender.sent,
        "answered": len({one.frame_id for one in decisions}),
        "died": not lives,
        "result_states": dict(Counter(one.result_state.value for one in decisions)),
        "accepted_of_unreadable": sum(
            one.action.value == "ACCEPT" and one.result_state.value != "COMPLETED" for one in decisions
        ),
        "dead_letters": dict(Counter(one.kind for one in letters)),
        "idle_mib": round(idle_kib / 1024, 1),
        "over_idle_mib": over_mib and round(over_mib, 1),
        "slowest_ms": round(max(took_ms), 1),
    }


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="mutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-mib", type=int, default=1024, help="memory of the worker (RLIMIT_DATA)")
    parser.add_argument("files", nargs="*", type=Path, help="further images to publish twice")
    given = parser.parse_args()
    print(json.dumps(run(given.count, given.seed, given.limit_mib, given.files), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
