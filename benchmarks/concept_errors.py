"""``python -m benchmarks.concept_errors``: false alarms and delay of one error stream; cost and state of a monitor.

Errors are independent coin tosses. The peers are three detectors of River, each one alone, with River's defaults, on
the same streams: any drift counts as an alarm. The program prints one JSON object; a Markdown table goes to standard
error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from river.drift import ADWIN
from river.drift.binary import DDM, HDDMA

from benchmarks.machine import machine
from monitoring.quality.concept_monitor import ConceptMonitor
from monitoring.quality.error_stream import ErrorStream, Point
from schemas.ids import decision_id, frame_id
from schemas.records import Action, Decision, Label, ResultState, Verdict

RATES = (0.001, 0.01, 0.05, 0.2, 0.5)
#: Error rate before and after the change, and number of labels before the change.
CHANGES = ((0.01, 0.05, 1000), (0.01, 0.1, 500), (0.02, 0.3, 500), (0.05, 0.15, 500), (0.05, 0.3, 300), (0.2, 0.4, 300))
#: A rise that is not found within this number of labels counts as missed.
WITHIN = 3000

Alarms = Callable[[bool], bool]


def ours() -> Alarms:
    """Return the update function of our error stream."""
    stream = ErrorStream()
    return lambda error: stream.update(Point("f", 0, error)) is not None


def alone(detector: Any) -> Alarms:
    """Return the update function of one of River's detectors."""

    def update(error: bool) -> bool:
        detector.update(int(error))
        return bool(detector.drift_detected)

    return update


CONTENDERS: dict[str, Callable[[], Alarms]] = {
    "ours": ours,
    "River DDM": lambda: alone(DDM()),
    "River HDDM_A": lambda: alone(HDDMA()),
    "River ADWIN": lambda: alone(ADWIN()),
}


def false_alarms(make: Callable[[], Alarms], seed: int) -> dict[str, int]:
    """Count alarms in 100,000 labels of one stream and in the first 500 labels of 200 streams, summed over `RATES`."""
    chance = random.Random(seed)
    long = fresh = 0
    for rate in RATES:
        alarms = make()
        long += sum(alarms(chance.random() < rate) for _ in range(100_000))
        for _ in range(200):
            alarms = make()
            fresh += sum(alarms(chance.random() < rate) for _ in range(500))
    return {"long": long, "fresh": fresh}


def delay(make: Callable[[], Alarms], before: float, after: float, labels: int, seed: int) -> int | None:
    """Return the labels from the change to the first alarm, or None if there is no alarm within `WITHIN` labels."""
    chance = random.Random(seed)
    alarms = make()
    for _ in range(labels):
        alarms(chance.random() < before)
    return next((n + 1 for n in range(WITHIN) if alarms(chance.random() < after)), None)


def monitor_cost() -> dict[str, float]:
    """Measure time and state of a monitor with 20,000 decisions and 2,000 labels."""
    chance = random.Random(0)
    monitor = ConceptMonitor("s/c")
    decisions = [_decision(number, f"{chance.getrandbits(128):032x}") for number in range(20_000)]
    labels = [_label(one, chance) for one in decisions[::10]]
    times = [time.perf_counter()]
    for decision in decisions:
        monitor.decision(decision)
    times.append(time.perf_counter())
    for label in labels:
        monitor.label(label)
    times.append(time.perf_counter())
    state = monitor.state()
    times.append(time.perf_counter())
    ConceptMonitor("s/c").restore(state)
    times.append(time.perf_counter())
    decide, say, write, read = (after - before for before, after in itertools.pairwise(times))
    return {
        "decision_us": decide / len(decisions) * 1e6,
        "label_us": say / len(labels) * 1e6,
        "state_kib": len(state) / 1024,
        "state_ms": write * 1e3,
        "restore_ms": read * 1e3,
    }


def _decision(number: int, part: str) -> Decision:
    frame, rejected = frame_id("s", "c", 1, number), number % 10 == 9
    return Decision(
        decision_id=decision_id(frame, "", "m", "1"), frame_id=frame, line="l", station="s", camera_id="c",
        started_at_us=1, sequence=number, image_sha256="", verdict=Verdict.NOT_OK if rejected else Verdict.OK,
        action=Action.REJECT if rejected else Action.ACCEPT, result_state=ResultState.COMPLETED, reason="",
        model_name="m", model_version="1", model_sha256="m", recipe_id="r", recipe_revision="1",
        captured_at_us=number * 500_000, received_at_us=0, decided_at_us=number * 500_000 + 9_000, source_topic="t",
        source_partition=0, source_offset=number, part_id=part, lot=f"L{number // 500}",
    )  # fmt: skip


def _label(of: Decision, chance: random.Random) -> Label:
    truth = Verdict.NOT_OK if chance.random() < 0.03 else Verdict.OK
    return Label(label_id=f"{chance.getrandbits(128):032x}", station="s", camera_id="c", frame_id=of.frame_id,
                 truth=truth, labelled_at_us=1, labelled_by="bench", sampled_because="random")  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="streams of each change")
    args = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "monitor": monitor_cost(), "contenders": {}}
    for name, make in CONTENDERS.items():
        began = time.perf_counter()
        alarms = false_alarms(make, seed=1)
        cost_us = (time.perf_counter() - began) / (2 * 100_000 * len(RATES)) * 1e6
        delays = {f"{b:g} to {a:g}": [delay(make, b, a, n, seed) for seed in range(args.seeds)] for b, a, n in CHANGES}
        report["contenders"][name] = {"false_alarms": alarms, "update_us": cost_us, "delays": delays}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    names = [f"{before:g} to {after:g}" for before, after, _ in CHANGES]
    lines = [
        f"| detector | false alarms, 500,000 labels, long | fresh | {' | '.join(names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for name, row in report["contenders"].items():
        cells = [_text(row["delays"][change]) for change in names]
        counts = row["false_alarms"]
        lines.append(f"| {name} | {counts['long']} | {counts['fresh']} | {' | '.join(cells)} |")
    sys.stderr.write("\n".join(lines) + "\n")


def _text(delays: list[int | None]) -> str:
    found = sorted(n for n in delays if n is not None)
    missed = len(delays) - len(found)
    middle = f"{statistics.median(found):.0f}, p90 {found[int(0.9 * (len(found) - 1))]}" if found else "none"
    return middle + (f", {missed} missed" if missed else "")


if __name__ == "__main__":
    main()
