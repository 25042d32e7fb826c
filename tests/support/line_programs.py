"""Programs of a whole line as processes, each with the environment of its role."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from infra.demo.processes import inspection_command

FRAMES = 30
PATIENCE_S = 240.0
#: Role under which a program runs; the others run as reviewer.
ROLE_OF = {
    "produce": "camera",
    "spool drain": "camera",
    "worker": "worker",
    "watch": "watch",
    "actuate": "gate",
    "archive": "archiver",
    "label": "labeller",
    "topics apply": "platform",
    "topics diff": "platform",
    "dead-letters retry": "operator",
}
#: Commands that have commands of their own.
GROUPS = ("topics", "dead-letters", "drift", "spool")


class Line:
    """Programs of one line, with the files of a client for each role, or of one for all."""

    def __init__(self, folder: Path, envs: dict[str, dict[str, str]], prefix: str) -> None:
        self.folder = folder
        more = {"INSPECTION_PREFIX": prefix, "INSPECTION_STATE_DIR": str(folder / "state")}
        more["INSPECTION_SPOOL_DIR"] = str(folder / "spool")
        self._envs = {role: {**env, **more} for role, env in envs.items()}
        for env in self._envs.values():
            env.pop("INSPECTION_BOOTSTRAP_SERVERS", None)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, command: str) -> dict[str, str]:
        """Return the environment of a command."""
        return self._envs.get(ROLE_OF.get(command, "reviewer")) or self._envs[""]

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a program; its output goes to a file with its name."""
        with (self.folder / f"{name}.log").open("wb") as out:
            process = subprocess.Popen(
                inspection_command(name, *options), stdout=out, stderr=out, env=self.environment(name)
            )
        self._running[name] = process
        return process

    def serve(self, name: str, *options: str) -> str:
        """Start a program with an endpoint, and return its address when it is healthy and has partitions."""
        process = self.start(name, "--http-port", "0", *options)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            assert process.poll() is None, self.log(name)
            for word in self.log(name).split():
                if word.startswith("http://") and word.endswith("/health"):
                    try:
                        with urllib.request.urlopen(word, timeout=5) as answer:
                            health = json.load(answer)
                    except OSError:
                        continue
                    if health["ok"] and health["assigned"]:
                        return word.removesuffix("/health")
            time.sleep(0.2)
        raise AssertionError(self.log(name))

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command to its end, and return its output."""
        env = self.environment(" ".join(command[:2])) if command[0] in GROUPS else self.environment(command[0])
        done = subprocess.run(
            inspection_command(*command), capture_output=True, text=True, env=env, timeout=PATIENCE_S, check=False
        )
        (self.folder / f"{'-'.join(command[:2])}.log").write_text(done.stdout + done.stderr)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def stop(self, name: str) -> str:
        """End a program with SIGTERM, and return what it wrote."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        return self.log(name)

    def log(self, name: str) -> str:
        """Return what a program has written."""
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._running.values():
            process.kill()
            process.wait()


def produce(line: Line) -> None:
    """Publish the frames; a slow broker gets the last ones from the spool."""
    options = ("--frames", str(FRAMES), "--fps", "20", "--deadline-ms", "60000", "--json", "--encode", "png")
    [found] = json.loads(line.run("produce", "--camera", "synthetic", *options))["cameras"]
    assert found["published"] + found["spooled"] == FRAMES, found
    if found["spooled"]:
        line.run("spool", "drain")
