"""Processes of a demo run, started as a user would start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from infra.broker.ports import free_port
from infra.parent_death import end_with_parent
from schemas.connection import registry_client
from schemas.connection.load import CONFIG_VARIABLE, VARIABLES
from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from transport.loopback import open_direct

_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0


def inspection_command(*arguments: str) -> list[str]:
    """Return a command line that runs `inspection` in this Python.

    ``-P`` keeps a user's own ``models/`` folder from shadowing our package.
    """
    return [sys.executable, "-P", "-c", "from infra.cli.root import main; main()", *arguments]


class ServedProcess:
    """Process of an `inspection` command with a health endpoint; its log goes to a file.

    Parameters
    ----------
    command
        Command of `inspection`: `worker`, `watch` or `gateway`.
    group
        Consumer group of the process; None for a command that has none, and the option ``--port``.
    options
        Further options of the command.
    client_file
        File with the connection of ``kafka``. None: the process finds it in the environment, as this one did.

    Raises
    ------
    InspectionError
        From `await_ready`, if the process ends before it is ready, or is not ready in time.
    """

    def __init__(
        self,
        command: str,
        kafka: KafkaSettings,
        *,
        group: str | None,
        log: Path,
        options: Sequence[str] = (),
        client_file: Path | None = None,
    ) -> None:
        self._command = command
        self._log = log
        port = free_port()
        #: Base URL of the health and metrics endpoints.
        self.url = f"http://127.0.0.1:{port}"
        arguments = [command, "--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
        arguments += ["--port", str(port)] if group is None else ["--group", group, "--http-port", str(port)]
        arguments += options
        # The files of another broker are for that one.
        inherits = kafka.client and client_file is None
        env = {name: value for name, value in os.environ.items() if inherits or name not in VARIABLES}
        if client_file is not None:
            env[CONFIG_VARIABLE] = str(client_file)
        if kafka.schema_registry_url is None:
            env = {name: value for name, value in env.items() if name not in registry_client.VARIABLES}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                inspection_command(*arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=end_with_parent(),
                env={**env, "INSPECTION_SCHEMA_REGISTRY_URL": kafka.schema_registry_url or ""},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """Path of the log file."""
        return self._log

    def await_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until the process is ready."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise InspectionError(
                    f"the {self._command} ended with status {self._process.returncode}: {self.last_line()}"
                )
            if self.is_ready():
                return
            time.sleep(0.05)
        raise InspectionError(f"the {self._command} is not ready after {timeout_s:.0f} s: {self.last_line()}")

    def is_ready(self) -> bool:
        """Return True if the process has partitions to read."""
        health = self.health()
        return health is not None and bool(health["ok"] and health["assigned"]) and not health["rebalancing"]

    def health(self) -> dict[str, object] | None:
        """Return the answer of the health endpoint, or None while it does not answer."""
        try:
            with open_direct(self.url + "/health", 1) as answer:
                report: dict[str, object] = json.load(answer)
                return report
        except (urllib.error.URLError, OSError, ValueError):
            return None

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels; 0 while the endpoint does not answer."""
        try:
            with open_direct(self.url + "/metrics", 1) as answer:
                families = text_string_to_metric_families(answer.read().decode())
                return sum(sample.value for family in families for sample in family.samples if sample.name == name)
        except (urllib.error.URLError, OSError, ValueError):
            return 0.0

    def alive(self) -> bool:
        """Return True if the process runs."""
        return self._process.poll() is None

    def wait(self, timeout_s: float = _READY_TIMEOUT_S) -> int:
        """Wait until the process ends; return its exit status."""
        return self._process.wait(timeout_s)

    def stop(self) -> int:
        """Ask the process to end, kill it if it does not end in time, and return its exit status."""
        if self.alive():
            self._process.terminate()
        try:
            return self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_line(self) -> str:
        """Return the last line of the log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class WorkerProcess(ServedProcess):
    """Process of `inspection worker`: one process unless ``options`` name more.

    ``model`` is a model package; None: the model that ships.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        model: Path | None,
        group: str,
        log: Path,
        options: Sequence[str] = (),
        client_file: Path | None = None,
    ) -> None:
        package = [] if model is None else ["--model", str(model)]
        options = ["--processes", "1", *package, *options]
        super().__init__("worker", kafka, group=group, log=log, options=options, client_file=client_file)
