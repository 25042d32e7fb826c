"""Programs of one line as processes, each with the environment of its role."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from infra.demo.processes import inspection_command
from schemas.private_files import replace_private

PATIENCE_S = 240.0
#: Role under which a command runs; the others run as reviewer.
ROLE_OF = {
    "produce": "camera",
    "spool": "camera",
    "worker": "worker",
    "watch": "watch",
    "actuate": "gate",
    "archive": "archiver",
    "label": "labeller",
    "topics": "platform",
    "dead-letters retry": "operator",
}


class Programs:
    """Programs of one line; what they write goes to files in a folder.

    Parameters
    ----------
    folder
        Folder of the logs, and of all that the programs keep.
    prefix
        Prefix of the line's topics.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = folder
        self._prefix = prefix
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._logs: list[tuple[str, Path]] = []
        self.journal, self.gate_state = folder / "gate.jsonl", folder / "gate"
        #: Variables of each role, on top of those of this process; under "" those of all roles.
        self.variables: dict[str, dict[str, str]] = {}

    def connect(self, role: str, lines: dict[str, str]) -> None:
        """Write the file with the connection of a role, as a secret is replaced: at once, by its name."""
        file = self.folder / f"{role or 'client'}.properties"
        replace_private(file, "".join(f"{key}={value}\n" for key, value in lines.items()).encode())
        self.variables.setdefault(role, {})["INSPECTION_KAFKA_CONFIG"] = str(file)

    def environment(self, role: str) -> dict[str, str]:
        """Return the environment of a role."""
        return {
            **{name: value for name, value in os.environ.items() if name != "INSPECTION_BOOTSTRAP_SERVERS"},
            "INSPECTION_PREFIX": self._prefix,
            "INSPECTION_STATE_DIR": str(self.folder / "state"),
            "INSPECTION_SPOOL_DIR": str(self.folder / "spool"),
            **self.variables.get("", {}),
            **self.variables.get(role, {}),
        }

    def start(self, *command: str, until: str = "") -> subprocess.Popen[bytes]:
        """Start a program; wait until its log has a text."""
        log, env = self._new_log(command), self.environment(_role(command))
        with log.open("wb") as out:
            process = subprocess.Popen(inspection_command(*command), stdout=out, stderr=out, env=env)
        self._running.append((command[0], process))
        end_s = time.monotonic() + PATIENCE_S
        while until not in (text := log.read_text(errors="replace")):
            assert process.poll() is None, text
            assert time.monotonic() < end_s, text
            time.sleep(0.05)
        return process

    def serve(self, *command: str) -> str:
        """Start a program with an endpoint, and return its address when it is healthy and has partitions."""
        process = self.start(*command, "--http-port", "0", until="/health")
        address: str = re.findall(r"(http://\S+)/health", self.log(command[0]))[0]
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                    health = json.load(answer)
                if health["ok"] and health["assigned"]:
                    return address
            except OSError:
                pass
            assert process.poll() is None, self.log(command[0])
            assert time.monotonic() < end_s, self.log(command[0])
            time.sleep(0.2)

    def worker(self, processes: int = 1) -> str:
        """Start a worker of the line's group, and return its address."""
        return self.serve("worker", "--processes", str(processes), "--threads", "1", "--group", self._prefix)

    def gate(self, *options: str, belt_ms: int = 20_000) -> subprocess.Popen[bytes]:
        """Start the gate, with a belt so long that a slow machine decides in time."""
        belt = ("--belt-ms", str(belt_ms), "--max-lateness-ms", "0", "--fault-after", "0")
        files = ("--journal", str(self.journal), "--state-dir", str(self.gate_state))
        return self.start("actuate", *belt, *files, *options, until="gate ready")

    def camera(self, frames: int, fps: int) -> subprocess.Popen[bytes]:
        """Start a camera that ends after its frames."""
        options = ("--camera", "synthetic", "--frames", str(frames), "--fps", str(fps), "--deadline-ms", "60000")
        return self.start("produce", *options, "--encode", "png", "--json")

    def publish(self, frames: int) -> None:
        """Publish frames, 20 a second; a slow broker gets the last ones from the spool."""
        camera = self.camera(frames, 20)
        assert camera.wait(PATIENCE_S) == 0, self.log("produce")
        [found] = self.report("produce")["cameras"]
        assert found["published"] + found["spooled"] == frames, found
        if found["spooled"]:
            self.run("spool", "drain")

    def call(self, *command: str, role: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, under its own role or another, with further variables."""
        env = {**self.environment(role or _role(command)), **variables}
        done = subprocess.run(
            inspection_command(*command), capture_output=True, text=True, env=env, timeout=PATIENCE_S, check=False
        )
        self._new_log(command).write_text(done.stdout + done.stderr)
        return done

    def run(self, *command: str) -> str:
        """Run a command that ends well, and return its output."""
        done = self.call(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def acts(self) -> list[dict[str, Any]]:
        """Return the whole lines of the gate's journal."""
        lines = self.journal.read_text().splitlines(keepends=True) if self.journal.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]

    def await_acts(self, count: int) -> list[dict[str, Any]]:
        """Wait until the gate has acted on so many parts."""
        end_s = time.monotonic() + PATIENCE_S
        while len(self.acts()) < count:
            assert time.monotonic() < end_s, self.logs()[-4000:]
            time.sleep(0.2)
        return self.acts()

    def stop(self, name: str) -> None:
        """End the program of a name that runs longest with SIGTERM."""
        process = next(each for started, each in self._running if started == name and each.poll() is None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, self.logs()[-4000:]

    def close(self) -> None:
        """Kill what still runs."""
        for _, process in self._running:
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        """Return what the newest program of a name has written."""
        return [path for started, path in self._logs if started == name][-1].read_text(errors="replace")

    def report(self, name: str) -> dict[str, Any]:
        """Return the JSON that the newest program of a name has written at its end; lines of the log may follow."""
        text = f"\n{self.log(name)}"
        report: dict[str, Any] = json.JSONDecoder().raw_decode(text, text.index("\n{") + 1)[0]
        return report

    def logs(self) -> str:
        """Return what all programs have written."""
        return "\n".join(path.read_text(errors="replace") for _, path in self._logs)

    def _new_log(self, command: tuple[str, ...]) -> Path:
        """Return the path of a log that no other program has."""
        path = self.folder / f"{command[0]}-{len(self._logs)}.log"
        self._logs.append((command[0], path))
        return path


def _role(command: tuple[str, ...]) -> str:
    """Return the role under which a command runs."""
    return ROLE_OF.get(" ".join(command[:2])) or ROLE_OF.get(command[0], "reviewer")
