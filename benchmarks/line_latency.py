"""``python -m benchmarks.line_latency``: latency and throughput of the whole line on this machine.

The program runs `inspection demo` several times at 30 frames/s, and once as fast as the line goes. Broker, three
cameras, worker, gate and accounting share the machine. It prints one JSON object; a Markdown table goes to standard
error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.output import write
from infra.demo.processes import inspection_command

AIM_P50_MS, AIM_P99_MS = 15, 60


def run_demo(frames: int, fps: float) -> dict[str, Any]:
    """Run the demo once as a user would start it; return its JSON object."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = inspection_command("demo", "--frames", str(frames), "--fps", str(fps), "--json", str(result))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return report


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs at 30 frames/s; medians are reported")
    parser.add_argument("--frames", type=int, default=600, help="frames in each")
    args = parser.parse_args()
    described = machine()
    runs = [run_demo(args.frames, 30) for _ in range(args.runs)]
    fastest = run_demo(2 * args.frames, 0)
    rows = {
        name: {figure: [run["latency_ms"][name][figure] for run in runs] for figure in ("p50", "p95", "p99", "max")}
        for name in ("capture_to_decision", "capture_to_gate")
    }
    report = {
        "machine": described,
        "fps": 30,
        "frames": args.frames,
        "runs": args.runs,
        "latency_ms": rows,
        "median": {name: {k: statistics.median(v) for k, v in row.items()} for name, row in rows.items()},
        "aim_ms": {"p50": AIM_P50_MS, "p99": AIM_P99_MS},
        "saturated": {"throughput_fps": fastest["throughput_fps"], "latency_ms": fastest["latency_ms"]},
        "unaccounted": sum(run["unaccounted"] for run in (*runs, fastest)),
    }
    write("line_latency", report, _table(report))


def _table(report: dict[str, Any]) -> str:
    cpu, cores = report["machine"]["cpu"], report["machine"]["cores"]
    lines = [
        f"{cpu}, {cores} cores, {report['runs']} runs of {report['frames']} frames",
        "",
        "| 30 frames/s, median of runs (lowest to highest) | p50 ms | p95 ms | p99 ms |",
        "|---|---|---|---|",
    ]
    for name, row in report["latency_ms"].items():
        cells = (f"{statistics.median(row[k])} ({min(row[k])} to {max(row[k])})" for k in ("p50", "p95", "p99"))
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    lines.append("")
    lines.append(f"aim for capture to decision: p50 {AIM_P50_MS}, p99 {AIM_P99_MS}")
    lines.append(f"as fast as it goes: {report['saturated']['throughput_fps']} frames/s")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
