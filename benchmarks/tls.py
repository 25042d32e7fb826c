"""``python -m benchmarks.tls``: cost of TLS, login and signatures, beside plain text in the same run.

Contenders take turns, each with a broker and topics of its own on this machine:

- *plain text*: no login, no TLS;
- *SCRAM*: a login, no TLS, as `inspection broker start` has it;
- *TLS and SCRAM*: as `inspection broker start --secure` has it;
- *TLS, SCRAM and signatures*: the same broker; cameras and the worker sign, worker and gate check.

A worker of one process first empties a topic (frames a second, from the tenth part of its decisions on), and then
answers a camera at 20 frames a second (capture to the reader of the decisions, as a gate has it). Broker, camera,
worker and reader share the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actuators import DecisionConsumer
from benchmarks.machine import described, machine
from benchmarks.output import bars, markdown, progress, write
from benchmarks.percentiles import percentile
from benchmarks.rounds import Spread, in_turns
from benchmarks.workloads import images, workload
from infra.broker import LocalBroker
from infra.broker.secured_start import make_security, write_client
from infra.demo.processes import WorkerProcess
from operations.signing_keys import make_key_files
from producers import CameraIdentity, Capture, FramePublisher, PublisherOptions
from schemas import KafkaSettings
from schemas.settings import SIGNING_KEY_VARIABLE
from transport.belief import make_belief
from transport.public_keys import SignerRole
from transport.range_reader import read_topic
from transport.topic_ranges import watermarks
from transport.topic_setup import apply

FPS = 20
CAMERAS = 6
PLAIN, SCRAM, TLS, SIGNED = "plain text", "SCRAM", "TLS and SCRAM", "TLS, SCRAM and signatures"
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Side:
    """One contender: settings of its clients, and what its worker needs.

    Parameters
    ----------
    client_file
        File with the connection; None: plain text.
    keys
        Folder with keys and the folder ``trust``; None: no signatures.
    """

    kafka: KafkaSettings
    client_file: Path | None = None
    keys: Path | None = None

    @property
    def trust(self) -> Path | None:
        """Folder of public keys."""
        return None if self.keys is None else self.keys / "trust"


@contextmanager
def sides(folder: Path) -> Iterator[dict[str, Side]]:
    """Start a broker for each kind of connection."""
    keys = folder / "keys"
    (keys / "trust").mkdir(parents=True)
    for role in (SignerRole.CAMERA, SignerRole.WORKER):
        shutil.move(make_key_files(keys, role.value, role, ("*/*",)).public, keys / "trust")
    with ExitStack() as stack:
        plain = stack.enter_context(LocalBroker(folder / "plain", port=0, ends_with_us=True))
        found = {PLAIN: Side(KafkaSettings(plain.bootstrap_servers))}
        for name, is_tls in ((SCRAM, False), (TLS, True)):
            place = folder / ("tls" if is_tls else "scram")
            security = make_security(place, tls=is_tls)
            broker = stack.enter_context(LocalBroker(place, port=0, security=security, ends_with_us=True))
            file = write_client(place, security, broker.bootstrap_servers)
            found[name] = Side(security.settings(int(broker.bootstrap_servers.rpartition(":")[2])), file)
        camera_key = str(keys / "camera.key")
        found[SIGNED] = replace(found[TLS], kafka=replace(found[TLS].kafka, signing_key=camera_key), keys=keys)
        yield found


def run(side: Side, folder: Path, frames: int) -> dict[str, float]:
    """Measure one contender once: frames a second, and p50 and p99 of the latency in ms."""
    kafka = replace(side.kafka, prefix=f"bench-{time.time_ns():x}")
    apply(kafka)
    pictures = images(workload("demo-300x300").size_wh, False)
    publish(kafka, pictures, frames)
    options = ["--threads", "2", *(("--trust", str(side.trust)) if side.trust else ())]
    log = folder / f"{kafka.prefix}.log"
    with (
        signing(side),
        WorkerProcess(
            kafka, model=None, group=kafka.prefix, log=log, options=options, client_file=side.client_file
        ) as worker,
    ):
        worker.await_ready()
        await_decisions(kafka, frames)
        times_ms = sorted(each.timestamp_us / 1000 for each in read_topic(kafka, kafka.decisions))[frames // 10 :]
        latency_ms = latencies(kafka, side, pictures)
    return {
        "frames/s": (len(times_ms) - 1) / (times_ms[-1] - times_ms[0]) * 1000,
        "p50 ms": percentile(latency_ms, 50),
        "p99 ms": percentile(latency_ms, 99),
    }


@contextmanager
def signing(side: Side) -> Iterator[None]:
    """Set the signing key of the worker for processes that start in the block."""
    if side.keys is not None:
        os.environ[SIGNING_KEY_VARIABLE] = str(side.keys / "worker.key")
    try:
        yield
    finally:
        os.environ.pop(SIGNING_KEY_VARIABLE, None)


def publish(kafka: KafkaSettings, pictures: Sequence[bytes], frames: int) -> None:
    """Publish frames of several cameras as fast as possible."""
    with ExitStack() as stack:
        options = PublisherOptions(policy="block")
        cameras = [
            stack.enter_context(FramePublisher(kafka, CameraIdentity("bench", "press", f"cam{number}"), options))
            for number in range(CAMERAS)
        ]
        for number in range(frames):
            cameras[number % CAMERAS].publish(Capture(encoded=pictures[number % len(pictures)]))
        left = sum(camera.flush(_PATIENCE_S) for camera in cameras)
    if left:
        raise RuntimeError(f"{left} frames were not acknowledged")


def await_decisions(kafka: KafkaSettings, count: int) -> None:
    """Wait until the topic has this number of decisions.

    Raises
    ------
    RuntimeError
        If they do not come.
    """
    until_s = time.monotonic() + _PATIENCE_S
    while sum(high for _, high in watermarks(kafka, kafka.decisions).values()) < count:
        if time.monotonic() > until_s:
            raise RuntimeError("the worker does not answer all frames")
        time.sleep(0.2)


def latencies(kafka: KafkaSettings, side: Side, pictures: Sequence[bytes], seconds: float = 15.0) -> list[float]:
    """Publish at a steady rate; return the ms from the capture to the reader for each decision."""
    found: list[float] = []
    stop = threading.Event()
    consumer = DecisionConsumer(kafka, max_age_s=None, belief=make_belief(side.trust, None))
    wanted = round(seconds * FPS)

    def read() -> None:
        while not stop.is_set():
            decision = consumer.poll(0.1)
            if decision is not None:
                found.append((time.time_ns() // 1000 - decision.captured_at_us) / 1000)

    with (
        consumer,
        FramePublisher(kafka, CameraIdentity("bench", "press", "live"), PublisherOptions(policy="block")) as camera,
    ):
        thread = threading.Thread(target=read)
        thread.start()
        began_s = time.monotonic()
        for number in range(wanted):
            time.sleep(max(0.0, began_s + number / FPS - time.monotonic()))
            camera.publish(Capture(encoded=pictures[number % len(pictures)]))
        until_s = time.monotonic() + _PATIENCE_S
        while len(found) < wanted and time.monotonic() < until_s:
            time.sleep(0.05)
        stop.set()
        thread.join()
    if len(found) < wanted:
        raise RuntimeError(f"{wanted - len(found)} of {wanted} decisions did not come")
    return found


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    rows = [
        (name, *(Spread.of([each[figure] for each in runs]) for figure in runs[0]))
        for name, runs in report["runs"].items()
    ]
    figures = list(next(iter(report["runs"].values()))[0])
    return "\n".join([described(report["machine"]), "", markdown(["connection", *figures], rows)])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all contenders")
    parser.add_argument("--frames", type=int, default=3_000, help="frames that a worker finds")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    found_machine = machine()
    with tempfile.TemporaryDirectory() as scratch, sides(Path(scratch)) as contenders:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        for number, name in in_turns(list(contenders), args.rounds):
            found = run(contenders[name], Path(scratch), args.frames)
            runs[name].append(found)
            progress(f"round {number + 1}: {name}: " + ", ".join(f"{key} {value:.1f}" for key, value in found.items()))
    report = {"machine": found_machine, "settings": {"rounds": args.rounds, "frames": args.frames}, "runs": runs}
    plots = {
        figure.split("/")[0].replace(" ", "-"): bars(
            "Cost of a secured connection", figure,
            {name: Spread.of([each[figure] for each in rows]) for name, rows in runs.items()},
        )
        for figure in ("frames/s", "p99 ms")
    }  # fmt: skip
    write("tls", report, table(report), plots, json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
