"""``python -m benchmarks.publishing``: frames a second of one publisher process, beside librdkafka alone.

One camera publishes as fast as Kafka takes its frames, with the images of the workloads: 13, 50 and 330 kB. The images
are first JPEG files, then pixels that the publisher encodes as JPEG.

`librdkafka` is a loop that passes the same messages, encoded beforehand, to a bare confluent-kafka client with our
settings (idempotent, all acknowledgements, no linger, 64 frames in flight). `librdkafka and record` also makes the
record of each frame: sha256, Avro. Our publisher does all of this, passes frames between threads, counts, and keeps its
guarantees of order and memory. The last kinds show the cost of the spool.

All kinds take turns, each on a new topic in one separate process; CPU is that of all threads of this process.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.line_topics import Stream, create, delete
from benchmarks.machine import described, machine
from benchmarks.output import bars, markdown, progress, write
from benchmarks.rounds import Spread, in_turns, ratios
from benchmarks.workloads import JPEG_QUALITY, images
from infra.broker import LocalBroker
from models.opencv import cv2
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from producers.client import producer_config
from producers.encoding import encode_capture
from producers.message import Message, make_message
from producers.spool import SpoolOptions
from schemas import Codec, KafkaSettings
from transport.producer import make_producer

AIM = 0.9
#: Sizes of the workloads' images: some 13, 50 and 330 kB as JPEG.
SIZES = ((300, 300), (640, 480), (1920, 1080))
_FLUSH_S = 60
_IDENTITY = CameraIdentity("bench", "bench", "camera")
_OPTIONS = PublisherOptions(policy="block", quality=JPEG_QUALITY)


@dataclass(frozen=True, slots=True)
class Kind:
    """Way to publish.

    ``beside`` is the kind to compare with. With ``pixels``, pixels are encoded as JPEG first. ``spool`` has options of
    `SpoolOptions`.
    """

    beside: str
    ours: bool = False
    pixels: bool = False
    record: bool = False
    spool: Mapping[str, str] | None = None


BARE, BARE_JPEG = "librdkafka", "librdkafka, JPEG made"
KINDS: Mapping[str, Kind] = {
    BARE: Kind(BARE),
    "librdkafka and record": Kind(BARE, record=True),
    "publisher": Kind(BARE, ours=True),
    BARE_JPEG: Kind(BARE_JPEG, pixels=True),
    "publisher, JPEG made": Kind(BARE_JPEG, ours=True, pixels=True),
    "publisher, spool outage": Kind("publisher", ours=True, spool={}),
    "publisher, spool always, normal": Kind("publisher", ours=True, spool={"mode": "always", "sync": "normal"}),
    "publisher, spool always, full": Kind("publisher", ours=True, spool={"mode": "always", "sync": "full"}),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one run: frames and MB (10^6 bytes of images) a second, CPU ms a frame."""

    frames_per_s: float
    mb_per_s: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Task:
    """Task of one run: kind, size of the images, topics, folder of the spool, duration."""

    kind: str
    size_wh: tuple[int, int]
    kafka: KafkaSettings
    spool_directory: Path
    seconds: float


def run(task: Task) -> Figures:
    """Publish for ``task.seconds``, then wait for all acknowledgements.

    Raises
    ------
    RuntimeError
        If frames are lost or not acknowledged.
    """
    kind = KINDS[task.kind]
    encoded = images(task.size_wh, True)
    captures = [Capture(encoded=data) for data in encoded]
    if kind.pixels:
        captures = [Capture(image=_pixels(data)) for data in encoded]
    with ExitStack() as stack:
        publish, finish = (_ours if kind.ours else _bare)(task, kind, captures, stack)
        for capture in captures[:8]:
            publish(capture)
        finish()
        began, began_cpu, count = time.perf_counter(), time.process_time(), 0
        for capture in itertools.cycle(captures):
            publish(capture)
            count += 1
            if time.perf_counter() - began > task.seconds:
                break
        finish()
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    size = sum(map(len, encoded)) / len(encoded)
    return Figures(count / took_s, count * size / took_s / 1e6, 1000 * cpu_s / count)


def _pixels(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def _ours(
    task: Task, kind: Kind, _: Sequence[Capture], stack: ExitStack
) -> tuple[Callable[[Capture], object], Callable[[], None]]:
    spool = None if kind.spool is None else SpoolOptions(directory=task.spool_directory, **kind.spool)  # type: ignore[arg-type]
    publisher = stack.enter_context(FramePublisher(task.kafka, _IDENTITY, _OPTIONS, spool=spool))

    def finish() -> None:
        left, stats = publisher.flush(_FLUSH_S), publisher.stats()
        if left or stats.dropped or stats.failed:
            raise RuntimeError(f"{left} frames are left: {stats}")

    return publisher.publish, finish


def _bare(
    task: Task, kind: Kind, captures: Sequence[Capture], _: ExitStack
) -> tuple[Callable[[Capture], object], Callable[[], None]]:
    producer = make_producer(task.kafka, producer_config(_OPTIONS))
    codec, numbers, errors = Codec(), itertools.count(), []
    ready = [] if kind.pixels or kind.record else [_message(capture, codec, 0) for capture in captures]
    ready_in_turn: Iterator[Message] = itertools.cycle(ready)

    def delivered(error: object, _: object) -> None:
        if error is not None:
            errors.append(error)

    def publish(capture: Capture) -> None:
        if kind.record:
            message = _message(capture, codec, next(numbers))
            value, key, headers = message.value, message.key, message.headers
        elif kind.pixels:
            assert capture.image is not None
            made = cv2.imencode(".jpg", capture.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            value, key, headers = made.tobytes(), _IDENTITY.key.encode(), []
        else:
            message = next(ready_in_turn)
            value, key, headers = message.value, message.key, message.headers
        while True:
            try:
                producer.produce(task.kafka.frames, value, key, headers=headers, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    def finish() -> None:
        if producer.flush(_FLUSH_S) or errors:
            raise RuntimeError(f"frames are left or lost: {errors[:1]}")

    return publish, finish


def _message(capture: Capture, codec: Codec, sequence: int) -> Message:
    now_us, now_s = time.time_ns() // 1000, time.monotonic()
    return make_message(
        capture, encode_capture(capture), identity=_IDENTITY, options=_OPTIONS, started_at_us=1,
        sequence=sequence, captured_at_us=now_us, taken_s=now_s, codec=codec,
    )  # fmt: skip


def measure(bootstrap_servers: str, scratch: Path, args: argparse.Namespace) -> dict[str, dict[str, list[Figures]]]:
    """Measure all kinds in turns; return the figures by size and by kind, in the order of the rounds."""
    found: dict[str, dict[str, list[Figures]]] = {}
    numbers = itertools.count()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for size_wh in (SIZES[number] for number in sorted(args.size)):
            kib = round(sum(map(len, images(size_wh, True))) / len(images(size_wh, True)) / 1000)
            by_kind = found[f"{size_wh[0]}x{size_wh[1]}, {kib} kB"] = {kind: [] for kind in args.kind}
            for _, kind in in_turns(args.kind, args.rounds):
                stream = Stream(f"publishing-{next(numbers)}")
                create(bootstrap_servers, stream)
                kafka = KafkaSettings(bootstrap_servers, stream.prefix)
                figures = pool.submit(run, Task(kind, size_wh, kafka, scratch / stream.prefix, args.seconds)).result()
                delete(bootstrap_servers, stream)
                by_kind[kind].append(figures)
                progress(f"{kib} kB, {kind}: {figures.frames_per_s:.0f} frames/s, {figures.cpu_ms:.2f} ms CPU a frame")
    return found


def beside(by_kind: Mapping[str, Sequence[Figures]]) -> dict[str, list[float]]:
    """Return each kind's ratio in frames a second to its compared kind, round by round, if both were measured."""
    rates = {kind: [each.frames_per_s for each in found] for kind, found in by_kind.items()}
    return {kind: ratios(rates, KINDS[kind].beside)[kind] for kind in rates if KINDS[kind].beside in rates}


def table(report: Mapping[str, Any], found: Mapping[str, Mapping[str, Sequence[Figures]]]) -> str:
    """Return the report as Markdown."""
    parts = [described(report["machine"])]
    for size, by_kind in found.items():
        found_ratios = beside(by_kind)
        rows = [
            [
                kind,
                *(
                    Spread.of([getattr(each, name) for each in figures])
                    for name in ("frames_per_s", "mb_per_s", "cpu_ms")
                ),
                f"{Spread.of(found_ratios[kind])} of {KINDS[kind].beside}" if kind in found_ratios else "",
            ]
            for kind, figures in by_kind.items()
        ]
        parts += [f"\n{size}", markdown(["publisher", "frames/s", "MB/s", "CPU ms a frame", "ratio"], rows)]
        for kind in ("publisher", "publisher, JPEG made"):
            if kind in found_ratios:
                ratio = Spread.of(found_ratios[kind]).median
                parts.append(f"{kind}: {ratio:.2f}, aim at least {AIM}: {'met' if ratio >= AIM else 'MISSED'}")
    return "\n".join(parts)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all kinds")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of each run")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="repeat it; default: all")
    named = {f"{width}x{height}": number for number, (width, height) in enumerate(SIZES)}
    parser.add_argument("--size", action="append", choices=list(named), help="repeat it; default: all")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    args.kind = args.kind or list(KINDS)
    args.size = [named[size] for size in args.size or named]
    found_machine = machine()
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0, ends_with_us=True) as broker,
    ):
        found = measure(broker.bootstrap_servers, Path(scratch), args)
    report = {
        "machine": found_machine,
        "settings": {"rounds": args.rounds, "seconds": args.seconds},
        "sizes": {
            size: {kind: [asdict(each) for each in figures] for kind, figures in by_kind.items()}
            for size, by_kind in found.items()
        },
        "ratios": {size: beside(by_kind) for size, by_kind in found.items()},
    }
    plots = {
        size.split(",")[0]: bars(
            f"One publisher process, frames of {size}",
            "frames/s",
            {kind: Spread.of([each.frames_per_s for each in figures]) for kind, figures in by_kind.items()},
        )
        for size, by_kind in found.items()
    }
    write("publishing", report, table(report, found), plots, json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
