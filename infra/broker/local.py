"""Start, stop and status of a real Apache Kafka on this machine."""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from infra.broker import kafka_jars
from infra.broker.config import new_cluster_id, write_config
from infra.broker.errors import BrokerError
from infra.broker.java import find_java
from infra.broker.locks import exclusive, try_lock
from infra.broker.log_tail import log_tail, size
from infra.broker.ports import free_port, listens
from infra.broker.security import BrokerSecurity, Tunnel, write_arguments
from infra.broker.state import BrokerState, read_state, write_state
from infra.parent_death import end_with_parent
from schemas.addresses import HIDDEN
from schemas.connection.local_broker import default_data_dir
from schemas.errors import BrokerUnavailable
from schemas.private_files import make_private_folder, open_private
from schemas.settings import KafkaSettings
from transport.admin import list_topics

log = logging.getLogger(__name__)

DEFAULT_PORT = 9092
#: Time for the first answer, in seconds: the login of a client takes a second or more on a loaded machine.
_ANSWER_S = 5.0

#: Brokers outlive the objects that started them. Python warns if the object of a running child process is deleted.
_left_running: list[subprocess.Popen[bytes]] = []


@atexit.register
def _let_run() -> None:
    for child in _left_running:
        if child.poll() is None:
            child.returncode = 0  # on purpose: Popen then takes the child as ended and does not warn


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """State of the broker of a data directory: if it runs, if it answers, and its address."""

    running: bool
    ready: bool
    pid: int | None
    bootstrap_servers: str | None
    version: str | None
    data_dir: str
    log: str


class LocalBroker:
    """Broker on this machine, identified by its data directory.

    Parameters
    ----------
    data_dir
        Folder for topics, configuration and log. None: the user's default folder.
    port
        TCP port on 127.0.0.1. 0: any free port. None: that of the last start, else `DEFAULT_PORT`.
    heap_mib
        Size of the Java heap in MiB.
    ends_with_us
        True: stop the broker when this process ends, even if it is killed. False: the broker runs until `stop`.
    tunnel
        Second listener for clients behind a proxy or tunnel.
    security
        Users and certificates; None: anyone on this machine may use the broker.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> LocalBroker(pathlib.Path(tempfile.mkdtemp())).status().running
    False
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int | None = None,
        heap_mib: int = 384,
        *,
        ends_with_us: bool = False,
        tunnel: Tunnel | None = None,
        security: BrokerSecurity | None = None,
    ) -> None:
        self.data_dir = (data_dir or default_data_dir()).absolute()
        self._port = port
        self._heap_mib = heap_mib
        self._ends_with_us = ends_with_us
        self._tunnel = tunnel
        self._security = security
        self._state_path = self.data_dir / "broker.json"
        self._log = self.data_dir / "broker.log"
        self._output = self.data_dir / "stdout.log"  # output of the JVM before Kafka opens its log
        self._log_from = 0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Address of the running broker.

        Raises
        ------
        BrokerError
            If the broker does not run.
        """
        state = read_state(self._state_path)
        if state is None or state.process() is None:
            raise BrokerError(f"no broker runs on {self.data_dir}; start it with `inspection broker start`")
        return self._settings(state.port).bootstrap_servers

    def _settings(self, port: int) -> KafkaSettings:
        return KafkaSettings(f"127.0.0.1:{port}") if self._security is None else self._security.settings(port)

    def status(self) -> BrokerStatus:
        """Return the state, from the process table and the broker's own answer."""
        state = read_state(self._state_path)
        running = state is not None and state.process() is not None
        kafka = self._settings(state.port) if state and running else None
        return BrokerStatus(
            running=running,
            ready=kafka is not None and _answers(kafka, 2.0),
            pid=state.pid if state and running else None,
            bootstrap_servers=None if kafka is None else kafka.bootstrap_servers,
            version=state.version if state and running else None,
            data_dir=str(self.data_dir),
            log=str(self._log),
        )

    def start(self, timeout_s: float = 60.0, progress: kafka_jars.OnDownload | None = None) -> BrokerStatus:
        """Start the broker and wait until it answers; leave a running broker as it is.

        Raises
        ------
        BrokerError
            If there is no Java or no jars, if the port or the data directory is in use, or if the broker ends or does
            not answer in time.
        """
        self._await_ready(self.launch(progress), timeout_s)
        return self.status()

    def launch(self, progress: kafka_jars.OnDownload | None = None) -> BrokerState:
        """Start the broker as `start` does, without a wait until it answers."""
        try:
            make_private_folder(self.data_dir)
            # If two processes start at once, the second one waits here and then finds the broker of the first one.
            with exclusive(self.data_dir / "start.lock"):
                state = read_state(self._state_path)
                if state is None or state.process() is None:
                    state = self._launch(progress)
                elif self._child is None:
                    log.info("a broker runs already, at 127.0.0.1:%d; it is left alone", state.port)
        except OSError as error:
            raise BrokerError(f"the broker cannot use {self.data_dir}: {error.strerror or error}") from error
        return state

    def _launch(self, progress: kafka_jars.OnDownload | None) -> BrokerState:
        java = find_java()
        classes = kafka_jars.classpath(progress=progress)
        in_use = try_lock(self.data_dir / "broker.lock")
        if in_use is None:
            raise BrokerError(
                f"a broker that is not in {self._state_path} uses {self.data_dir}; end its java process first"
            )
        with in_use:
            port = free_port(self._wanted_port())
            server = self._write_config(port)
            self._format(java, classes, server)
            self._log_from = size(self._log)
            self._child = self._spawn(java, classes, server, in_use.fileno())
        pid = self._child.pid
        version = kafka_jars.version_to_run()
        state = BrokerState(pid, psutil.Process(pid).create_time(), port, version, str(self._log))
        write_state(self._state_path, state)
        return state

    def _wanted_port(self) -> int:
        """Return the port to start at. Clients have the address of the last start in their files."""
        if self._port is not None:
            return self._port
        last = read_state(self._state_path)
        return DEFAULT_PORT if last is None else last.port

    def _write_config(self, port: int) -> Path:
        return write_config(self.data_dir, port, free_port(), self._tunnel, self._security)

    def _cluster_id(self) -> str:
        return new_cluster_id()

    def _spawn(self, java: Path, classes: str, server: Path, lock: int) -> subprocess.Popen[bytes]:
        command = [
            str(java), f"-Xms{self._heap_mib}m", f"-Xmx{self._heap_mib}m",
            # On a small machine with a small heap, the serial collector and the first compiler start fastest.
            "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-Xshare:auto",
            f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.xml'}", "-Djava.awt.headless=true",
            *(() if self._security is None else self._security.java_options),
            "-cp", classes, "kafka.Kafka", str(server),
        ]  # fmt: skip
        with os.fdopen(open_private(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as out:
            # In its own session the broker outlives the terminal, and Ctrl-C there does not reach it.
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.data_dir,
                start_new_session=True, pass_fds=[lock], umask=0o077,
                preexec_fn=end_with_parent() if self._ends_with_us else None,
            )  # fmt: skip
        _left_running.append(child)
        return child

    def _format(self, java: Path, classes: str, server: Path) -> None:
        if (self.data_dir / "data" / "meta.properties").exists():
            return
        options = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        tool = ["kafka.tools.StorageTool", "format", "-t", self._cluster_id(), "-c", str(server)]
        done = self._run(java, [*options, "-cp", classes, *tool])
        if done.returncode:
            detail = (done.stderr or done.stdout).strip().splitlines()
            raise BrokerError(f"Kafka could not prepare {self.data_dir}: {detail[-1] if detail else 'no output'}")

    def _run(self, java: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        if self._security is None:
            return subprocess.run([str(java), *arguments], capture_output=True, text=True, timeout=120, check=False)
        file = self.data_dir / "format.arguments"
        write_arguments(file, [*arguments, *self._security.format_arguments()])
        try:
            # The output of a success has salts and keys of the users, and that of a failure may have a password.
            done = subprocess.run([str(java), f"@{file}"], capture_output=True, text=True, timeout=120, check=False)
        finally:
            file.unlink()
        for password in self._security.passwords.values():
            done.stderr, done.stdout = (text.replace(password, HIDDEN) for text in (done.stderr, done.stdout))
        return done

    def _await_ready(self, state: BrokerState, timeout_s: float) -> None:
        kafka = self._settings(state.port)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._child is not None:
                self._child.poll()  # reaps the child if it has ended
            if state.process() is None:
                said = log_tail(self._log, self._output, self._log_from)
                raise BrokerError(f"the broker ended while starting; the end of its log:\n{said}")
            if listens(state.port) and _answers(kafka, _ANSWER_S):
                return
            time.sleep(0.1)
        raise BrokerError(
            f"the broker does not answer at {kafka.bootstrap_servers} after {timeout_s:.0f} s; see {state.log}"
        )

    def stop(self, timeout_s: float = 30.0) -> bool:
        """Stop the broker cleanly: it flushes and closes its logs. Return False if no broker ran.

        Raises
        ------
        BrokerError
            If the broker does not end in time; it then goes on running.
        """
        state = read_state(self._state_path)
        process = state.process() if state else None
        if process is None:
            return False
        # Keep the state file: it names a process that has ended, and another start may already have replaced it.
        process.terminate()
        self._wait(process, timeout_s)
        return True

    def kill(self) -> None:
        """Kill the broker without any cleanup, for tests of durability."""
        state = read_state(self._state_path)
        process = state.process() if state else None
        if process is not None:
            process.kill()
            self._wait(process, 10.0)

    def _wait(self, process: psutil.Process, timeout_s: float) -> None:
        try:
            if self._child is not None and self._child.pid == process.pid:
                self._child.wait(timeout_s)
            else:
                process.wait(timeout_s)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired) as error:
            raise BrokerError(f"the broker (process {process.pid}) does not end within {timeout_s:.0f} s") from error

    def __enter__(self) -> LocalBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _answers(kafka: KafkaSettings, timeout_s: float) -> bool:
    try:
        list_topics(kafka, timeout_s)
    except BrokerUnavailable:
        return False
    return True
