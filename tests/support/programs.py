"""Camera, worker and gate as processes, each with an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from infra.demo.processes import inspection_command
from schemas.private_files import replace_private

PATIENCE_S = 240.0
FPS, FRAMES = 10, 300


class Programs:
    """Programs of one line; what they write goes to files in a folder.

    Parameters
    ----------
    address
        Address of Kafka; empty: it is in the file of each program, see `connect`.
    """

    def __init__(self, folder: Path, prefix: str, address: str = "") -> None:
        self.folder = folder
        self._prefix = prefix
        self._address = address
        self._running: list[subprocess.Popen[bytes]] = []
        self.journal = folder / "gate.jsonl"
        #: Further variables of each command.
        self.variables: dict[str, dict[str, str]] = {}

    def connect(self, command: str, lines: dict[str, str]) -> None:
        """Write the file with the connection of a command, as a secret is replaced: at once, by its name."""
        file = self.folder / f"{command}.properties"
        replace_private(file, "".join(f"{key}={value}\n" for key, value in lines.items()).encode())
        self.variables.setdefault(command, {})["INSPECTION_KAFKA_CONFIG"] = str(file)

    def start(self, command: str, *options: str, until: str = "") -> subprocess.Popen[bytes]:
        """Start a command; wait until its log has a text."""
        log = self.folder / f"{command}-{len(self._running)}.log"
        env = {
            **{name: value for name, value in os.environ.items() if name != "INSPECTION_BOOTSTRAP_SERVERS"},
            "INSPECTION_PREFIX": self._prefix,
            "INSPECTION_STATE_DIR": str(self.folder / "state"),
            "INSPECTION_SPOOL_DIR": str(self.folder / "spool"),
            **({"INSPECTION_BOOTSTRAP_SERVERS": self._address} if self._address else {}),
            **self.variables.get(command, {}),
        }
        with log.open("wb") as out:
            process = subprocess.Popen(inspection_command(command, *options), stdout=out, stderr=out, env=env)
        self._running.append(process)
        end_s = time.monotonic() + PATIENCE_S
        while until not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end_s, log.read_text(errors="replace")
            time.sleep(0.1)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker of the line's group."""
        return self.start(
            "worker", "--processes", "1", "--threads", "1", "--group", self._prefix, "--http-port", "0", until="ready"
        )

    def gate(self, *options: str, belt_ms: int = 20_000) -> subprocess.Popen[bytes]:
        """Start the gate, with a belt so long that a slow machine decides in time."""
        files = ("--journal", str(self.journal), "--state-dir", str(self.folder / "gate"))
        belt = ("--belt-ms", str(belt_ms), "--max-lateness-ms", "0", "--fault-after", "0")
        return self.start("actuate", *belt, *files, *options, until="gate ready")

    def camera(self, frames: int = FRAMES) -> subprocess.Popen[bytes]:
        """Start a camera that ends after its frames."""
        options = ("--camera", "synthetic", "--frames", str(frames), "--fps", str(FPS), "--deadline-ms", "60000")
        return self.start("produce", *options, "--encode", "png", "--json")

    def acts(self) -> list[dict[str, Any]]:
        """Return the lines of the gate's journal."""
        return [json.loads(line) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    def await_acts(self, count: int) -> list[dict[str, Any]]:
        """Wait until the gate has acted on so many parts."""
        end_s = time.monotonic() + PATIENCE_S
        while len(self.acts()) < count:
            assert time.monotonic() < end_s, self.logs()[-4000:]
            time.sleep(0.2)
        return self.acts()

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a program with SIGTERM."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()

    def logs(self) -> str:
        """Return what all programs have written."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))
