"""The real MirrorMaker 2, as `connect-mirror-maker.sh` starts it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from infra.broker import maven
from infra.broker.java import find_java
from infra.parent_death import end_with_parent
from schemas.user_folders import user_folder

_LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


class MirrorMaker:
    """Process of MirrorMaker; it listens nowhere.

    Parameters
    ----------
    folder
        Folder for its log.
    lock
        File with the Maven coordinates and sha256 of its jars.
    config
        File with its configuration.
    """

    def __init__(self, folder: Path, lock: Path, config: Path) -> None:
        self._folder, self._config = folder, config
        self._jars = maven.ensure(maven.read_lock(lock.read_text()), user_folder("cache") / "mirror-4.3.0")
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "log4j2.xml").write_text(_LOGGING)

    def start(self) -> None:
        """Start it."""
        command = [
            str(find_java()), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.xml'}",
            "-cp", os.pathsep.join(map(str, self._jars)), "org.apache.kafka.connect.mirror.MirrorMaker",
            str(self._config),
        ]  # fmt: skip
        with (self._folder / "mirror.log").open("ab") as out:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                preexec_fn=end_with_parent(),
            )  # fmt: skip

    @property
    def log(self) -> str:
        """Text that it has written."""
        return (self._folder / "mirror.log").read_text(errors="replace")

    def check(self) -> None:
        """Fail if it has ended."""
        assert self._process is not None
        assert self._process.poll() is None, self.log[-3000:]

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
