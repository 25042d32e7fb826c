"""``python -m benchmarks.gateway``: the gateway beside a bare prediction server in Flask behind gunicorn.

Both have the same model and the same number of threads. In each round they run in turns: at saturation with a number of
clients, and at a share of Flask's rate with requests at fixed times. Behind the gateway there are Kafka and a worker.
The processor time of an answer says which rate is possible on this machine: all programs share its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contenders import peers
from benchmarks.cpu_times import cpu_ms_per_answer, cpu_seconds
from benchmarks.http_load import Measured, saturate, send_at
from benchmarks.machine import described, machine
from benchmarks.open_loop import Schedule
from benchmarks.output import markdown, progress, write
from benchmarks.percentiles import percentile
from benchmarks.rounds import Spread, in_turns
from benchmarks.workloads import images, package, workload
from infra.broker import LocalBroker
from infra.broker.ports import free_port
from infra.demo.processes import WorkerProcess, inspection_command
from schemas import KafkaSettings
from transport.loopback import open_direct
from transport.topic_setup import apply

FLASK, GATEWAY = "flask", "gateway"
#: Aims of the gateway beside Flask: added milliseconds at p50, ratio of rates, ratio of p99.
AIM_P50_MS, AIM_RATE, AIM_P99 = 5.0, 1.0, 1.2
_READY_S = 120.0
_WARM_S = 2.0


@dataclass(frozen=True, slots=True)
class Contender:
    """Address to post images to, and the processes that work for an answer, by name."""

    url: str
    pids: Mapping[str, int]


@contextmanager
def served(command: list[str], url: str, log: Path, **environment: str) -> Iterator[int]:
    """Run a server until the block ends; wait until its page answers, and yield the process id."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, **environment},
        )  # fmt: skip
    try:
        until_s = time.monotonic() + _READY_S
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"no server at {url}: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with open_direct(url, 2):
            return True
    except OSError:
        return False


@contextmanager
def contenders(args: argparse.Namespace, scratch: Path) -> Iterator[dict[str, Contender]]:
    """Start both servers; yield them by name."""
    kind = workload(args.workload)
    model = package(kind.network, scratch)
    flask, gateway = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    flask_command = [
        peers.python(), "-m", "benchmarks.contenders.flask_server", "--bootstrap-servers", "none", "--frames", "none",
        "--decisions", "none", "--group", "none", "--model", str(model), "--threads", str(args.threads),
        "--url", flask,
    ]  # fmt: skip
    with LocalBroker(scratch / "broker", port=0, ends_with_us=True) as broker:
        kafka = KafkaSettings(broker.bootstrap_servers)
        apply(kafka)
        gateway_command = inspection_command(
            "gateway", "--bootstrap-servers", kafka.bootstrap_servers, "--port", gateway.rpartition(":")[2],
            "--waiting", "256",
        )  # fmt: skip
        threads = ["--threads", str(args.threads)]
        with (
            WorkerProcess(kafka, model=model, group="bench", log=scratch / "worker.log", options=threads) as worker,
            served(gateway_command, f"{gateway}/ready", scratch / "gateway.log") as gateway_pid,
            served(flask_command, f"{flask}/health", scratch / "flask.log", PYTHONPATH=str(Path.cwd())) as flask_pid,
        ):
            worker.await_ready()
            broker_pid = broker.status().pid
            assert broker_pid is not None
            yield {
                FLASK: Contender(f"{flask}/predict", {"server": flask_pid}),
                GATEWAY: Contender(
                    f"{gateway}/v1/inspections", {"gateway": gateway_pid, "worker": worker.pid, "broker": broker_pid}
                ),
            }


def measure(servers: Mapping[str, Contender], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure both in turns, for each number of clients; return a row for each run."""
    kind = workload(args.workload)
    pictures = images(kind.size_wh, kind.colour)
    rows: list[dict[str, Any]] = []

    def add(load: str, number: int, name: str, clients: int, run: Callable[[str], Measured]) -> Measured:
        before = cpu_seconds(servers[name].pids)
        found = run(servers[name].url)
        cpu_ms = cpu_ms_per_answer(before, cpu_seconds(servers[name].pids), len(found.latencies_ms))
        rows.append(
            {
                "load": load, "round": number, "name": name, "clients": clients, "rate": round(found.rate, 2),
                "refused": found.refused, "p50_ms": round(percentile(found.latencies_ms, 50), 2),
                "p99_ms": round(percentile(found.latencies_ms, 99), 2), "cpu_ms": cpu_ms,
            }
        )  # fmt: skip
        progress(json.dumps(rows[-1]))
        return found

    for server in servers.values():
        saturate(server.url, pictures, 2, _WARM_S)
    for clients in args.clients:
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for number, name in in_turns(list(servers), args.rounds):
            closed = partial(saturate, images=pictures, clients=clients, seconds=args.seconds)
            rates[name].append(add("closed", number, name, clients, closed).rate)
        rate = Spread.of(rates[FLASK]).median * args.load / 100
        for number, name in in_turns(list(servers), args.rounds):
            schedule = Schedule(rate, args.seconds, clients, number)
            add("open", number, name, clients, partial(send_at, images=pictures, schedule=schedule))
    return rows


def table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown, with the aims."""

    def of(load: str, name: str, clients: int, figure: str) -> Spread:
        chosen = (row for row in report["runs"] if (row["load"], row["name"], row["clients"]) == (load, name, clients))
        return Spread.of([row[figure] for row in chosen])

    def cpu(name: str, clients: int) -> str:
        chosen = [
            row["cpu_ms"] for row in report["runs"]
            if (row["load"], row["name"], row["clients"]) == ("closed", name, clients)
        ]  # fmt: skip
        medians = {part: Spread.of([row[part] for row in chosen]).median for part in chosen[0]}
        parts = ", ".join(f"{part} {ms:.1f}" for part, ms in medians.items())
        return f"{sum(medians.values()):.1f} ({parts})"

    lines, aims = [], []
    for clients in report["settings"]["clients"]:
        for name in (FLASK, GATEWAY):
            lines.append(
                [
                    clients, name, of("closed", name, clients, "rate"), of("open", name, clients, "p50_ms"),
                    of("open", name, clients, "p99_ms"), of("open", name, clients, "refused"), cpu(name, clients),
                ]
            )  # fmt: skip
        added_ms = of("open", GATEWAY, clients, "p50_ms").median - of("open", FLASK, clients, "p50_ms").median
        rate = of("closed", GATEWAY, clients, "rate").median / of("closed", FLASK, clients, "rate").median
        p99 = of("open", GATEWAY, clients, "p99_ms").median / of("open", FLASK, clients, "p99_ms").median
        is_met = added_ms <= AIM_P50_MS and rate >= AIM_RATE and p99 <= AIM_P99
        aims.append(
            f"{clients} clients: {added_ms:+.1f} ms at p50, {rate:.2f} of the rate, {p99:.2f} of p99: "
            f"{'met' if is_met else 'MISSED'} (aims: {AIM_P50_MS:g} ms, {AIM_RATE:g}, {AIM_P99:g})"
        )
    head = ["clients", "server", "answers/s at saturation", "p50 ms", "p99 ms", "refused", "CPU ms an answer"]
    return "\n\n".join([described(report["machine"]), markdown(head, lines), *aims])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="clients at the same time")
    parser.add_argument("--threads", type=int, default=2, help="threads of the worker, and processes of gunicorn")
    parser.add_argument("--load", type=float, default=50, help="open load in per cent of Flask's rate at saturation")
    parser.add_argument("--seconds", type=float, default=10, help="length of a run")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both servers")
    parser.add_argument("--workload", default="demo-300x300", help="images and network, see benchmarks.workloads")
    parser.add_argument("--json", type=Path, help="file for the report instead of standard output")
    args = parser.parse_args()
    peers.ensure()
    found_machine = machine()
    with tempfile.TemporaryDirectory() as scratch, contenders(args, Path(scratch)) as servers:
        runs = measure(servers, args)
    names = ("clients", "threads", "load", "seconds", "rounds", "workload")
    report = {"machine": found_machine, "settings": {name: getattr(args, name) for name in names}, "runs": runs}
    write("gateway", report, table(report), json_file=args.json)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
