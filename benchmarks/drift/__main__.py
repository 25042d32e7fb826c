"""`make bench-drift`: run every contender on every stream; write one table, and a plot for each scenario."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drift.concept import concept_alarms
from benchmarks.drift.contenders import Contender, Evidently, Ours, RiverDefaults
from benchmarks.drift.plots import plot_scenario
from benchmarks.drift.pools import Picture, make_pools
from benchmarks.drift.report import table
from benchmarks.drift.scenarios import BEFORE, CHANGES, SCENARIOS, STATIONARY, VIDEO, Pools
from transport.machine import usable_cores

# River's KSWIN is left out: with 170 us for each signal and frame, the benchmark would take an hour.
CONTENDERS = ("ours", "River ADWIN", "River PageHinkley", "Evidently")
_CHANGE_OF_CONCEPT = 3000
_pools: dict[str, list[Picture]] = {}


def make(name: str) -> Contender:
    """Return a new contender by its name."""
    if name == "ours":
        return Ours()
    return Evidently() if name == "Evidently" else RiverDefaults(name.removeprefix("River "))


def detect(name: str, scenario_name: str, seed: int) -> dict[str, Any]:
    """Do one run; return the delay in frames from the change to the first alarm, and the false alarms before it."""
    contender, scenario = make(name), SCENARIOS[scenario_name]
    false = 0
    stream = scenario.make(_pools, np.random.default_rng(seed))
    for number, picture in enumerate(itertools.islice(stream, BEFORE + scenario.after)):
        if contender.look(picture, scenario.product):
            if number >= BEFORE:
                return {"delay": number - BEFORE + 1, "false": false}
            false += 1
    return {"delay": None, "false": false}


def stationary(name: str, scenario_name: str, seed: int, frames: int) -> dict[str, Any]:
    """Do one run without a change; return its alarms, the CPU time for a frame, and the memory."""
    contender, scenario = make(name), SCENARIOS[scenario_name]
    pictures = list(itertools.islice(scenario.make(_pools, np.random.default_rng(10_000 + seed)), frames))
    began = time.process_time()
    alarms = sum(contender.look(picture, None) for picture in pictures)
    took = time.process_time() - began
    return {"alarms": alarms, "us": took / frames * 1e6, "kib": contender.memory_bytes / 1024}


def concept(seed: int, frames: int, change: int | None) -> tuple[list[int], int]:
    """Do one run with labels; return the frames of alarms, and the number of labels until the first one."""
    return concept_alarms(_pools, seed, frames, change)


def _share(pools: Pools) -> None:
    # Silence matplotlib and Evidently: telemetry, logs and warnings.
    os.environ["DO_NOT_TRACK"] = "1"
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    _pools.update(pools)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def main() -> None:
    """Run the whole benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="runs of each scenario (default 10)")
    parser.add_argument("--frames", type=int, default=100_000, help="stationary frames of a run (default 100,000)")
    parser.add_argument("--stationary-runs", type=int, default=10, help="stationary runs of ours (default 10)")
    parser.add_argument("--out", type=Path, default=Path("build/bench-drift"), help="folder for table, JSON and plots")
    parser.add_argument("--processes", type=int, default=usable_cores())
    options = parser.parse_args()
    _say("inspecting the images under each effect")
    pools = make_pools(options.processes)
    _share(pools)
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"contenders": {}, "options": {k: str(v) for k, v in vars(options).items()}}
    with ProcessPoolExecutor(options.processes, initializer=_share, initargs=(pools,)) as executor:
        jobs: dict[tuple[str, str], list[Any]] = {}
        for name in CONTENDERS:
            # A contender that is a thousand times slower gets fewer runs; the table shows their number.
            runs = options.stationary_runs if name == "ours" else (1 if name == "Evidently" else 3)
            for scenario in (STATIONARY, VIDEO):
                jobs[name, scenario.name] = [
                    executor.submit(stationary, name, scenario.name, seed, options.frames) for seed in range(runs)
                ]
            for scenario in CHANGES:
                jobs[name, scenario.name] = [
                    executor.submit(detect, name, scenario.name, seed) for seed in range(options.seeds)
                ]
        labelled = [executor.submit(concept, seed, 20_000, _CHANGE_OF_CONCEPT) for seed in range(options.seeds)]
        quiet = [executor.submit(concept, 100 + seed, options.frames, None) for seed in range(options.seeds)]
        for (name, scenario_name), futures in jobs.items():
            _say(f"{name}: {scenario_name}")
            results["contenders"].setdefault(name, {})[scenario_name] = [future.result() for future in futures]
        _say("labels: a new reject rule")
        found = [future.result() for future in labelled]
        after = [[f - _CHANGE_OF_CONCEPT for f in alarms if f >= _CHANGE_OF_CONCEPT] for alarms, _ in found]
        results["concept"] = {
            "delays": [min(late, default=None) for late in after],
            "labels": [labels for _, labels in found],
            "early": sum(f < _CHANGE_OF_CONCEPT for alarms, _ in found for f in alarms),
            "false_alarms": sum(len(future.result()[0]) for future in quiet),
            "false_frames": options.frames * options.seeds,
        }
    for scenario in CHANGES:
        plot_scenario(scenario, pools, options.out)
    text = table(results, options.frames)
    (options.out / "table.md").write_text(text + "\n", encoding="utf-8")
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(text)  # noqa: T201
    _say(f"table, figures and plots: {options.out}")


if __name__ == "__main__":
    main()
