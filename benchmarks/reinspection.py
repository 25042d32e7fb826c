"""``python -m benchmarks.reinspection``: re-inspection beside a bare loop that only decodes and infers, in one run.

The bare loop decodes as `models.images` does, makes the tensor and runs the network. It has no Avro, no sha256, no
signals and no decision, and it compares and writes nothing. Contenders take turns, round after round. The ratio is the
median over the rounds of the ratio in each round, so that other load on the machine slows both. The processor time a
frame, of this process only, shows the cost if the machine is not idle.

``--memory N`` inspects N small frames and reports the resident memory over time. The program prints one JSON object; a
Markdown table goes to standard error.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer

from benchmarks.machine import machine
from benchmarks.output import write
from infra.broker import LocalBroker
from models import FramePosition as Read
from models import default_model_path
from models.datasets.elpv import load_cells
from models.images import decode, image_header
from models.opencv import cv2
from models.preprocess import content_wh, to_tensor
from replay.past.resolved_selection import ResolvedSelection
from replay.past.selection import Selection
from replay.past.source import Source
from replay.reinspect.engine import cores, in_order, inspect_all, with_images
from replay.reinspect.inspector import InspectionJob, Inspector, Result
from replay.reinspect.run import plan, run
from replay.reinspect.run_folder import RunFolder
from replay.reinspect.variants import LoadedVariant, Variant, load
from schemas import Decision, Encoding, Frame, KafkaSettings
from schemas.clock import SystemClock
from schemas.codec import Codec, encode
from schemas.topics import MAX_REQUEST_BYTES
from stream_processors.worker.frame_processor import FrameProcessor
from stream_processors.worker.frame_task import FrameMessage
from transport.stored_message import MessagePosition, StoredMessage
from transport.topic_setup import apply

Pairs = list[tuple[StoredMessage[Frame], Decision | None]]
AIM = 0.9
#: Frames of a run through Kafka, as a multiple of the other contenders' frames.
_KAFKA_TIMES = 6


def make_pairs(images: Sequence[bytes], encoding: Encoding, loaded: Sequence[LoadedVariant], codec: Codec) -> Pairs:
    """Return frames with the decisions that a worker makes on them."""
    answer = FrameProcessor(loaded[0].model, codec, SystemClock())
    pairs: Pairs = []
    for offset, image in enumerate(images):
        header = image_header(image)
        at_us = time.time_ns() // 1000
        frame = Frame(
            frame_id=f"press.top.1.{offset:08d}", line="line", station="press", camera_id="top", started_at_us=1,
            sequence=offset, captured_at_us=at_us, part_id=f"P{offset}", lot="L", encoding=encoding,
            width=header.width, height=header.height, sha256=hashlib.sha256(image).hexdigest(), image=image,
            attributes={"label": "good"},
        )  # fmt: skip
        message = FrameMessage(None, b"press/top", {}, Read("bench", 0, offset, at_us))
        found: StoredMessage[Frame] = StoredMessage(MessagePosition("bench", 0, offset), at_us, b"press/top", {}, frame)
        pairs.append((found, answer.inspect(message, frame, image).decision))
    return pairs


def bare(pairs: Pairs, loaded: LoadedVariant, threads: int) -> None:
    """Decode and infer all frames; the threads share them."""
    model, spec = loaded.model, loaded.model.manifest.input
    colour = spec.colour != "grey"

    def share(begin: int) -> None:
        for found, _ in pairs[begin::threads]:
            frame = found.record
            assert frame is not None
            assert frame.image is not None
            size_wh = frame.width, frame.height
            pixels = decode(frame.image, colour=colour, needed_wh=content_wh(size_wh, spec)).pixels
            model.run(to_tensor(pixels, size_wh, spec)[0])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, range(threads)))


def checked(results: Iterator[Result], count: int) -> None:
    """Check that there are ``count`` results and that each decision was reproduced.

    Raises
    ------
    RuntimeError
        If a result is missing or a decision differs.
    """
    seen = sum(all(difference is None for _, difference in result.variants) for result in results)
    if seen != count:
        raise RuntimeError(f"{seen} of {count} decisions reproduced")


_inspector: Inspector | None = None


def _begin_process() -> None:
    global _inspector
    _inspector = Inspector(load([Variant("champion")]), Codec())


def _in_process(jobs: Sequence[InspectionJob]) -> list[Result]:
    assert _inspector is not None
    return _inspector.batch(jobs)


def publish(kafka: KafkaSettings, pairs: Pairs) -> None:
    """Publish the frames and their decisions to the topics of a line."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "message.max.bytes": MAX_REQUEST_BYTES})
    places: dict[str, tuple[int, int]] = {}

    def delivered(error: Any, message: Any, name: str) -> None:
        if error is not None:
            raise RuntimeError(error.str())
        places[name] = message.partition(), message.offset()

    for number, (found, _) in enumerate(pairs):
        assert found.record is not None
        name = found.record.frame_id
        callback = functools.partial(delivered, name=name)
        producer.produce(kafka.frames, encode(found.record), partition=number % 6, on_delivery=callback)
        producer.poll(0)
    producer.flush(60)
    for _, decision in pairs:
        assert decision is not None
        partition, offset = places[decision.frame_id]
        values = {name: getattr(decision, name) for name in decision.__slots__}
        values |= {"source_topic": kafka.frames, "source_partition": partition, "source_offset": offset}
        producer.produce(kafka.decisions, encode(Decision(**values)), partition=partition)
    producer.flush(60)


def through_kafka(kafka: KafkaSettings, loaded: Sequence[LoadedVariant], count: int) -> None:
    """Do a whole run against the topics: read recorded decisions and frames, inspect, compare, write the rows."""
    source = Source(kafka)
    with tempfile.TemporaryDirectory() as scratch, ResolvedSelection(source, Selection()) as resolved:
        folder = RunFolder.create(Path(scratch) / "run", plan(resolved, source, loaded))
        found = run(resolved, loaded, folder, Codec()).summary
        if (found.selected, found.compared, found.different) != (count, count, 0):
            raise RuntimeError(f"not as it should be: {found}")


def speed(pairs: Pairs, rounds: int) -> dict[str, Any]:
    """Measure the frames a second of all contenders.

    The run through Kafka has `_KAFKA_TIMES` as many frames, so that its own start counts less.
    """
    loaded, codec, threads = load([Variant("champion")]), Codec(), cores()
    inspector = Inspector(loaded, codec)
    count = len(pairs)
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "broker", port=0) as broker,
        ProcessPoolExecutor(threads, context, initializer=_begin_process) as processes,
    ):
        kafka = KafkaSettings(broker.bootstrap_servers)
        apply(kafka)
        for _ in range(_KAFKA_TIMES):
            publish(kafka, pairs)
        checked(in_order(with_images(pairs[:64], inspector), _in_process, processes, threads), min(64, count))
        contenders: dict[str, Callable[[], None]] = {
            "bare, 1 thread": lambda: bare(pairs, loaded[0], 1),
            "re-inspection, 1 thread": lambda: checked(inspect_all(pairs, inspector, threads=1), count),
            f"bare, {threads} threads": lambda: bare(pairs, loaded[0], threads),
            f"re-inspection, {threads} threads": lambda: checked(inspect_all(pairs, inspector), count),
            f"re-inspection, {threads} processes": lambda: checked(
                in_order(with_images(pairs, inspector), _in_process, processes, threads), count
            ),
            f"a run through Kafka, {threads} threads": lambda: through_kafka(kafka, loaded, _KAFKA_TIMES * count),
        }
        figures: dict[str, list[float]] = {name: [] for name in contenders}
        cpu_ms: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(rounds + 1):
            for name, contender in contenders.items():
                began, began_cpu = time.perf_counter(), time.process_time()
                contender()
                spent_cpu = time.process_time() - began_cpu
                if number:  # the first round only warms up
                    done = _KAFKA_TIMES * count if "Kafka" in name else count
                    figures[name].append(done / (time.perf_counter() - began))
                    cpu_ms[name].append(1000 * spent_cpu / done)
    ratios = {}
    for name, values in figures.items():
        beside = figures["bare, 1 thread" if name.endswith("1 thread") else f"bare, {threads} threads"]
        ratios[name] = [value / other for value, other in zip(values, beside, strict=True)]
    return {
        "frames": count,
        "rounds": rounds,
        "frames_per_second": figures,
        "ratio": ratios,
        "cpu_ms_per_frame": cpu_ms,
    }


def memory(count: int) -> dict[str, Any]:
    """Measure the resident memory over many small frames, which come one after the other as in a run."""
    loaded = load([Variant("champion")])
    inspector = Inspector(loaded, Codec())
    cells = load_cells()[:8]
    small = [cv2.resize(decode(cell.path.read_bytes()).pixels, (64, 64)) for cell in cells]
    encoded = [bytes(cv2.imencode(".jpg", pixels)[1]) for pixels in small]
    pairs = make_pairs(encoded, Encoding.JPEG, loaded, Codec())
    process, rss_mib = psutil.Process(), []

    def frames() -> Iterator[tuple[StoredMessage[Frame], Decision | None]]:
        for number in range(count):
            found, decision = pairs[number % len(pairs)]
            yield StoredMessage(found.position, found.timestamp_us, found.key, {}, found.record), decision

    for number, result in enumerate(inspect_all(frames(), inspector)):
        assert result.row is not None
        if number % max(1, count // 20) == 0:
            rss_mib.append(round(process.memory_info().rss / 2**20, 1))
    half = len(rss_mib) // 2
    return {
        "frames": count,
        "rss_mib": rss_mib,
        "growth_mib_second_half": round(max(rss_mib[half:]) - rss_mib[half], 1),
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of all contenders")
    parser.add_argument("--frames", type=int, default=400, help="frames of each")
    parser.add_argument("--memory", type=int, default=0, help="frames of the memory test, such as 100000; 0: none")
    args = parser.parse_args()
    described = machine()
    images = [cell.path.read_bytes() for cell in load_cells()]
    chosen = [images[number % len(images)] for number in range(args.frames)]
    pairs = make_pairs(chosen, Encoding.PNG, load([Variant("champion")]), Codec())
    report: dict[str, Any] = {
        "machine": described,
        "model": default_model_path().name,
        "image_bytes": round(statistics.mean(map(len, chosen))),
        **(speed(pairs, args.rounds) if args.rounds else {}),
    }
    if args.memory:
        report["memory"] = memory(args.memory)
    report["machine"]["load_after"] = machine()["load_before"]
    write("reinspection", report, _table(report))


def _table(report: dict[str, Any]) -> str:
    lines = [
        "| contender | frames/s, median (lowest to highest) | beside bare, median (lowest to highest) | CPU ms |",
        "|---|---|---|---|",
    ]
    for name, values in report.get("frames_per_second", {}).items():
        ratios = report["ratio"][name]
        spread = f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"
        beside = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        cpu = "" if "processes" in name else f"{statistics.median(report['cpu_ms_per_frame'][name]):.2f}"
        lines.append(f"| {name} | {spread} | {beside} | {cpu} |")
    lines.append(f"aim: {AIM}")
    if "memory" in report:
        found = report["memory"]
        lines.append(f"memory over {found['frames']} frames: {found['rss_mib']} MiB")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
