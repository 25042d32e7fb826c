"""``python -m benchmarks.archive``: MB/s of writing and reading an archive, beside the work that is needed anyway.

Frames are solar cells of the demo's data set: one cell (some 10 kB of JPEG), or nine cells in an image (some 100 kB).
The contenders take turns, round after round, on a real broker and a local directory:

- *consume*: a plain consumer reads the topic, and does nothing else;
- *archive*: the sink reads the topic, writes and syncs the files, and commits;
- *write*, *read*: the same number of bytes is written to plain files of 64 MiB and synced, and these are read whole;
- *replay*: every record of the archive is read and decoded, with checksums, from the page cache like the plain files;
- *verify*: the same, with the checks of `inspection archive verify`.

MB count the values of messages. The program prints one JSON object; a Markdown table goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks import output
from benchmarks.machine import machine
from infra.broker import LocalBroker
from replay.archive import Archive, ArchiveSink, ArchiveStore, SinkOptions
from replay.archive.verify import verify
from replay.past.source import Source
from schemas import Encoding, Frame, KafkaSettings
from schemas.codec import encode
from schemas.topics import FRAMES
from transport.topic_setup import apply

CONTENDERS = ("consume", "archive", "write", "read", "replay", "verify")
_CHUNK = 64 * 1024 * 1024


def images(cells: int) -> list[bytes]:
    """Return a hundred JPEGs of ``cells`` times ``cells`` solar cells, each of 300 pixels as in the data set."""
    from elpv_dataset.utils import load_dataset  # type: ignore[import-untyped]

    found = load_dataset()[0]
    pictures = []
    for number in range(100):
        rows = [np.hstack([found[(number + 7 * (row * cells + column)) % 2000] for column in range(cells)]) for row in
                range(cells)]  # fmt: skip
        pictures.append(bytes(cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]))
    return pictures


def publish(kafka: KafkaSettings, pictures: list[bytes], total_bytes: int) -> tuple[int, int]:
    """Publish frames of three cameras to all partitions; return their number and bytes."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0, "linger.ms": 20})
    now_us = time.time_ns() // 1000
    count = size = 0
    while size < total_bytes:
        frame = Frame(
            frame_id=f"press.c{count % 3}.1.{count:08d}", line="line-1", station="press", camera_id=f"c{count % 3}",
            started_at_us=now_us, sequence=count, captured_at_us=now_us + count, encoding=Encoding.JPEG, width=300,
            height=300, sha256="aa" * 32, image=pictures[count % len(pictures)], part_id=f"P{count}", lot="L1",
        )  # fmt: skip
        value = encode(frame)
        while True:
            try:
                producer.produce(kafka.frames, value, frame.key, partition=count % FRAMES.partitions)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        count, size = count + 1, size + len(value)
    if producer.flush(120):
        raise RuntimeError("frames are left after two minutes")
    return count, size


def consume(kafka: KafkaSettings, count: int) -> None:
    """Read the topic with a plain consumer."""
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "bench", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(kafka.frames, number, 0) for number in range(FRAMES.partitions)])
    seen = 0
    while seen < count:
        seen += sum(message.error() is None for message in consumer.consume(200, 0.1))
    consumer.close()


def write(folder: Path, size: int, data: bytes) -> None:
    """Write ``size`` bytes as plain files, and sync each of them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, at in enumerate(range(0, size, _CHUNK)):
        with (folder / str(number)).open("wb") as file:
            file.write(data[: min(_CHUNK, size - at)])
            file.flush()
            os.fsync(file.fileno())


def read(folder: Path) -> None:
    """Read plain files whole."""
    for path in folder.iterdir():
        path.read_bytes()


def archive(kafka: KafkaSettings, uri: Path) -> None:
    """Archive the frames topic into a new archive."""
    shutil.rmtree(uri, ignore_errors=True)
    ArchiveSink(kafka, ArchiveStore(str(uri)), SinkOptions((FRAMES,))).run_once(threading.Event())


def replay(kafka: KafkaSettings, uri: Path, count: int) -> None:
    """Read all records of an archive.

    Raises
    ------
    RuntimeError
        If their number is not ``count``.
    """
    source = Source(kafka, Archive.open(str(uri)), topics=False)
    if sum(found.record is not None for found in source.records(Frame)) != count:
        raise RuntimeError("the archive has not all frames")


def check(uri: Path) -> None:
    """Check every byte of an archive.

    Raises
    ------
    RuntimeError
        If the archive is damaged.
    """
    if verify(ArchiveStore(str(uri))).damage:
        raise RuntimeError("the archive is damaged")


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_mib(work: str, *arguments: str) -> float:
    """Return the peak memory, in MiB, of a separate process that does this work."""
    program = (
        "import re, sys; from benchmarks.archive import *; "
        f"{work}; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def measure(kafka: KafkaSettings, scratch: Path, pictures: list[bytes], rounds: int, mb: int) -> dict[str, Any]:
    """Measure all contenders on frames with these pictures."""
    # The bytes are random, because some disks do not write zeros.
    data = np.random.default_rng(0).bytes(_CHUNK)
    count, size = publish(kafka, pictures, mb * 1_000_000)
    uri, plain = scratch / "archive", scratch / "plain"
    work: dict[str, Callable[[], object]] = {
        "consume": lambda: consume(kafka, count),
        "archive": lambda: archive(kafka, uri),
        "write": lambda: write(plain, size, data),
        "read": lambda: read(plain),
        "replay": lambda: replay(kafka, uri, count),
        "verify": lambda: check(uri),
    }
    took: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    for _ in range(rounds):
        for contender in CONTENDERS:
            took[contender].append(size / 1e6 / seconds(work[contender]))
    where = (kafka.bootstrap_servers, str(uri))
    settings = "KafkaSettings(sys.argv[1]), Path(sys.argv[2])"
    return {
        "frames": count,
        "bytes": size,
        "mb_per_second": took,
        "mib": {
            "nothing": peak_mib("0"),
            "archive": peak_mib(f"archive({settings})", *where),
            "replay": peak_mib(f"replay({settings}, {count})", *where),
        },
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all contenders")
    parser.add_argument("--mb", type=int, default=300, help="MB of messages of each size")
    args = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "rounds": args.rounds, "sizes": []}
    lines = [f"| frames | {' | '.join(CONTENDERS)} |", "|---" * (len(CONTENDERS) + 1) + "|"]
    for cells in (1, 3):
        with tempfile.TemporaryDirectory() as scratch, LocalBroker(Path(scratch) / "broker", port=0) as broker:
            kafka = KafkaSettings(broker.bootstrap_servers)
            apply(kafka)
            found = measure(kafka, Path(scratch), images(cells), args.rounds, args.mb)
        report["sizes"].append(found)
        columns = [
            f"{statistics.median(x):.0f} ({min(x):.0f} to {max(x):.0f})" for x in found["mb_per_second"].values()
        ]
        mean_kb = found["bytes"] / found["frames"] / 1000
        lines.append(f"| {found['frames']} of {mean_kb:.1f} kB | {' | '.join(columns)} |")
        lines.append(f"| MiB at most | | {found['mib']['archive']:.0f} | | | {found['mib']['replay']:.0f} | |")
    output.write("archive", report, "MB/s, median (lowest to highest)\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
