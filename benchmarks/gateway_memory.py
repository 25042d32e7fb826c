"""``python -m benchmarks.gateway_memory``: memory of a gateway over many requests, with a worker behind it.

The worker has the small network. The gateway keeps the newest 20,000 decisions, so its memory grows until they are
there: the figure is the slope over the second half of the requests, with its standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gateway import served
from benchmarks.http_load import saturate
from benchmarks.machine import described, machine
from benchmarks.output import markdown, progress, write
from benchmarks.slopes import slope
from benchmarks.workloads import images, package, workload
from infra.broker import LocalBroker
from infra.broker.ports import free_port
from infra.demo.processes import WorkerProcess, inspection_command
from schemas import KafkaSettings
from transport.topic_setup import apply

#: Aim: growth in MiB per 10,000 requests.
AIM_MIB = 1.0
_WORKLOAD = "small-640x480"
_SAMPLE_S = 4.0


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Ask until the requests are answered; return the number of answers and the memory, after each few seconds."""
    kind = workload(_WORKLOAD)
    pictures = images((300, 300), kind.colour)
    url = f"http://127.0.0.1:{free_port(0)}"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "broker", port=0, ends_with_us=True) as it:
        scratch, kafka = Path(folder), KafkaSettings(it.bootstrap_servers)
        apply(kafka)
        command = inspection_command(
            "gateway", "--bootstrap-servers", kafka.bootstrap_servers, "--port", url.rpartition(":")[2],
            "--waiting", "256",
        )  # fmt: skip
        model = package(kind.network, scratch)
        with (
            WorkerProcess(kafka, model=model, group="bench", log=scratch / "worker.log") as worker,
            served(command, f"{url}/ready", scratch / "gateway.log") as pid,
        ):
            worker.await_ready()
            gateway, answers, refused = psutil.Process(pid), 0, 0
            began_s = time.monotonic()
            while answers < args.requests:
                done = saturate(f"{url}/v1/inspections", pictures, args.clients, _SAMPLE_S)
                answers, refused = answers + len(done.latencies_ms), refused + done.refused
                mib = gateway.memory_info().rss / 2**20
                seconds = round(time.monotonic() - began_s, 1)
                rows.append({"answers": answers, "refused": refused, "mib": round(mib, 2), "seconds": seconds})
                progress(json.dumps(rows[-1]))
    return rows


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown, with the aim."""
    rows, growth, error = report["runs"], report["mib_per_10_000"], report["error"]
    shown = [rows[len(rows) * part // 8] for part in range(8)] + [rows[-1]]
    lines = [[row["answers"], row["refused"], row["mib"], row["seconds"]] for row in shown]
    verdict = "met" if growth - 2 * error <= AIM_MIB else "MISSED"
    text = f"second half: {growth:+.2f} MiB per 10,000 requests (error {error:.2f}): {verdict} (aim: {AIM_MIB:g})"
    return "\n\n".join([described(report["machine"]), markdown(["answers", "refused", "MiB", "s"], lines), text])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, help="requests that are answered")
    parser.add_argument("--clients", type=int, default=32, help="clients at the same time")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    found_machine = machine()
    rows = measure(args)
    half = [row for row in rows if row["answers"] > args.requests / 2]
    per_request, error = slope([row["answers"] for row in half], [row["mib"] for row in half])
    report = {
        "machine": found_machine, "settings": {"requests": args.requests, "clients": args.clients},
        "mib_per_10_000": round(per_request * 1e4, 3), "error": round(error * 1e4, 3), "runs": rows,
    }  # fmt: skip
    write("gateway_memory", report, table(report), json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
