"""``python -m benchmarks.spool_cost``: what the spool costs a publisher, as a ratio to none, in one run.

One camera publishes encoded frames as fast as Kafka takes them, with each kind of spool in turn, the order interleaved
and repeated; medians are reported. Prints one JSON object; a Markdown table goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.line_latency import machine
from infra.broker import LocalBroker
from infra.topics import apply
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from producers.spool import SpoolOptions
from schemas import KafkaSettings

CONTENDERS: dict[str, dict[str, str] | None] = {
    "none": None,
    "outage": {},
    "always, normal": {"mode": "always", "sync": "normal"},
    "always, full": {"mode": "always", "sync": "full"},
}


def image(size_bytes: int) -> bytes:
    """A JPEG of about that size."""
    side = max(16, round((size_bytes * 1.3) ** 0.5))
    pixels = np.random.default_rng(0).integers(0, 255, (side, side), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def frames_per_second(kafka: KafkaSettings, spool: SpoolOptions | None, data: bytes, frames: int) -> float:
    """Publish so many frames and wait for all acknowledgements."""
    identity = CameraIdentity("line", "bench", "camera")
    with FramePublisher(kafka, identity, PublisherOptions(policy="block"), spool=spool) as publisher:
        publisher.publish(Capture(encoded=data))
        publisher.flush(30)
        began = time.perf_counter()
        for _ in range(frames):
            publisher.publish(Capture(encoded=data))
        if publisher.flush(120):
            raise RuntimeError("frames are left after two minutes")
        return frames / (time.perf_counter() - began)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all contenders")
    parser.add_argument("--frames", type=int, default=500, help="frames of each")
    parser.add_argument("--kib", type=int, default=50, help="size of a frame")
    args = parser.parse_args()
    described = machine()
    data = image(args.kib * 1024)
    figures: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as scratch, LocalBroker(Path(scratch) / "broker", port=0) as broker:
        kafka = KafkaSettings(broker.bootstrap_servers)
        apply(kafka.bootstrap_servers, kafka.prefix)
        for number in range(args.rounds):
            for name, kind in CONTENDERS.items():
                directory = Path(scratch) / f"spool-{number}-{name.replace(', ', '-')}"
                spool = None if kind is None else SpoolOptions(directory=directory, **kind)  # type: ignore[arg-type]
                figures[name].append(frames_per_second(kafka, spool, data, args.frames))
    none = statistics.median(figures["none"])
    report = {
        "machine": described,
        "frame_bytes": len(data),
        "frames": args.frames,
        "rounds": args.rounds,
        "frames_per_second": figures,
        "ratio": {name: statistics.median(values) / none for name, values in figures.items()},
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    lines = ["| spool | frames/s, median (lowest to highest) | ratio |", "|---|---|---|"]
    for name, values in figures.items():
        spread = f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"
        lines.append(f"| {name} | {spread} | {statistics.median(values) / none:.2f} |")
    sys.stderr.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
