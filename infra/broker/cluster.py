"""Cluster of several brokers on this machine: each node is a broker and a controller, with a folder of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import psutil
from confluent_kafka import KafkaException

from infra.broker import kafka_jars
from infra.broker.config import new_cluster_id, write_config
from infra.broker.errors import BrokerError
from infra.broker.local import DEFAULT_PORT, BrokerStatus, LocalBroker
from infra.broker.locks import exclusive
from infra.broker.ports import free_port
from infra.broker.security import BrokerSecurity
from infra.broker.state import BrokerState, read_state
from schemas.connection.local_broker import default_data_dir
from schemas.private_files import make_private_folder, read_private, replace_private
from schemas.settings import KafkaSettings
from transport.clients import AdminClient, make_admin

#: Nodes of a cluster: one may fail while another one restarts, without a loss of acknowledged messages.
NODES = 3
#: Settings that differ from those of a single broker. In such a file the last line with a key counts.
#:
#: A broker counts as dead after 3 s without a heartbeat. Until then no message is acknowledged.
_SERVER = """
node.id={node}
controller.quorum.voters={voters}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
broker.rack=rack-{node}
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
"""
#: Time for a clean end, in seconds. Without a quorum Kafka may not end a node cleanly.
_STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Id and ports of a cluster, which all nodes have to know; kept in its data directory."""

    cluster_id: str
    ports: tuple[int, ...]
    controller_ports: tuple[int, ...]

    @property
    def bootstrap_servers(self) -> str:
        """Addresses of all nodes."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """State of a cluster: ``running`` and ``ready`` are true if all nodes are."""

    running: bool
    ready: bool
    bootstrap_servers: str | None
    data_dir: str
    nodes: tuple[BrokerStatus, ...]


class ClusterNode(LocalBroker):
    """One node. Its number begins at 1."""

    def __init__(
        self,
        data_dir: Path,
        plan: ClusterPlan,
        number: int,
        heap_mib: int,
        *,
        ends_with_us: bool = False,
        security: BrokerSecurity | None = None,
    ) -> None:
        super().__init__(data_dir, plan.ports[number - 1], heap_mib, ends_with_us=ends_with_us, security=security)
        self._plan = plan
        self._number = number

    @property
    def process(self) -> psutil.Process | None:
        """Its process; None if it does not run."""
        state = read_state(self._state_path)
        return None if state is None else state.process()

    def await_ready(self, state: BrokerState, timeout_s: float) -> None:
        """Wait until a launched node answers; raise BrokerError if it does not."""
        self._await_ready(state, timeout_s)

    def end(self, process: psutil.Process, timeout_s: float) -> None:
        """Wait until a node that was asked to end has ended; kill it if it does not."""
        try:
            self._wait(process, timeout_s)
        except BrokerError:
            process.kill()
            self._wait(process, timeout_s)

    def _write_config(self, port: int) -> Path:
        ports, nodes = self._plan.controller_ports, len(self._plan.ports)
        path = write_config(self.data_dir, port, ports[self._number - 1], None, self._security)
        more = _SERVER.format(
            node=self._number,
            voters=",".join(f"{number}@127.0.0.1:{each}" for number, each in enumerate(ports, 1)),
            replicas=nodes,
            in_sync=max(1, nodes - 1),
        )
        replace_private(path, read_private(path) + more.encode(), sync=False)
        return path

    def _cluster_id(self) -> str:
        return self._plan.cluster_id


class LocalCluster:
    """Cluster on this machine, identified by its data directory.

    Parameters
    ----------
    data_dir
        Folder with a folder for each node. None: the user's default folder.
    port
        Port of the first node on 127.0.0.1; the others have the next ones. 0: any free ports. None: those of the last
        start, else from `DEFAULT_PORT` on.
    heap_mib
        Size of the Java heap of each node in MiB.
    nodes, ends_with_us, security
        Number of nodes; otherwise see `infra.broker.local.LocalBroker`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> LocalCluster(pathlib.Path(tempfile.mkdtemp())).status().running
    False
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int | None = None,
        heap_mib: int = 256,
        *,
        nodes: int = NODES,
        ends_with_us: bool = False,
        security: BrokerSecurity | None = None,
    ) -> None:
        self.data_dir = (data_dir or default_data_dir()).absolute()
        self._port = port
        self._heap_mib = heap_mib
        self._count = nodes
        self._ends_with_us = ends_with_us
        self._security = security
        self._nodes: tuple[ClusterNode, ...] = ()

    @property
    def nodes(self) -> Sequence[ClusterNode]:
        """Nodes by number; empty if there has been no cluster in the data directory."""
        plan = None if self._nodes else find_plan(self.data_dir)
        if plan is not None:
            self._nodes = self._make_nodes(plan)
        return self._nodes

    @property
    def settings(self) -> KafkaSettings:
        """Settings of a client that may do everything.

        Raises
        ------
        BrokerError
            If the cluster does not run.
        """
        plan = find_plan(self.data_dir)
        if plan is None or not any(node.process for node in self.nodes):
            raise BrokerError(f"no cluster runs on {self.data_dir}; start it with `inspection broker start --nodes 3`")
        return self._settings(plan)

    @property
    def bootstrap_servers(self) -> str:
        """Addresses of all nodes; raises as `settings` does."""
        return self.settings.bootstrap_servers

    def status(self) -> ClusterStatus:
        """Return the state of all nodes."""
        plan = find_plan(self.data_dir)
        states = tuple(node.status() for node in self.nodes)
        running = bool(states) and all(state.running for state in states)
        return ClusterStatus(
            running=running,
            ready=running and all(state.ready for state in states),
            bootstrap_servers=self._settings(plan).bootstrap_servers if plan and running else None,
            data_dir=str(self.data_dir),
            nodes=states,
        )

    def start(self, timeout_s: float = 120.0, progress: kafka_jars.OnDownload | None = None) -> ClusterStatus:
        """Start the nodes that do not run, and wait until all of them are members of the cluster.

        Without all of them Kafka cannot make the topic of the consumer groups, and groups would wait in silence.

        Raises
        ------
        BrokerError
            If a node cannot be started, or if the nodes do not find each other in time.
        """
        deadline = time.monotonic() + timeout_s
        try:
            make_private_folder(self.data_dir)
            with exclusive(self.data_dir / "start.lock"):
                plan = self._plan()
                launched = [(node, node.launch(progress)) for node in self.nodes]
        except OSError as error:
            raise BrokerError(f"the cluster cannot use {self.data_dir}: {error.strerror or error}") from error
        for node, state in launched:
            node.await_ready(state, max(1.0, deadline - time.monotonic()))
        admin = make_admin(self._settings(plan))
        while True:
            members = _members(admin)
            if members == len(plan.ports):
                return self.status()
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"{members} of {len(plan.ports)} nodes are in the cluster after {timeout_s:.0f} s; see the logs "
                    f"below {self.data_dir}"
                )
            time.sleep(0.1)

    def stop(self, timeout_s: float = _STOP_S) -> bool:
        """Stop all nodes. Return False if none ran.

        Nodes that have lost their quorum are killed: their logs are whole, and the next start recovers them.
        """
        running = [(node, process) for node in self.nodes if (process := node.process) is not None]
        for _, process in running:
            process.terminate()
        for node, process in running:
            node.end(process, timeout_s)
        return bool(running)

    def _plan(self) -> ClusterPlan:
        """Return the plan of the nodes that run; if none runs, choose ports."""
        old = find_plan(self.data_dir)
        if old is not None and any(node.process for node in self.nodes):
            return old
        if old is None and (self.data_dir / "data").exists():
            raise BrokerError(f"{self.data_dir} has the topics of a single broker; choose another --data-dir")
        if old is not None and self._port is None:
            ports = [free_port(port) for port in old.ports]
        else:
            first = DEFAULT_PORT if self._port is None else self._port
            count = self._count if old is None else len(old.ports)
            ports = [free_port(first and first + number) for number in range(count)]
        plan = ClusterPlan(
            new_cluster_id() if old is None else old.cluster_id,
            tuple(ports),
            tuple(_other_ports(len(ports), ports)),
        )
        replace_private(_path(self.data_dir), json.dumps(asdict(plan)).encode())
        self._nodes = self._make_nodes(plan)
        return plan

    def _make_nodes(self, plan: ClusterPlan) -> tuple[ClusterNode, ...]:
        return tuple(
            ClusterNode(
                self.data_dir / f"node-{number}", plan, number, self._heap_mib, ends_with_us=self._ends_with_us,
                security=self._security,
            )
            for number in range(1, len(plan.ports) + 1)
        )  # fmt: skip

    def _settings(self, plan: ClusterPlan) -> KafkaSettings:
        if self._security is None:
            return KafkaSettings(plan.bootstrap_servers)
        each = [self._security.settings(port) for port in plan.ports]
        return KafkaSettings(",".join(kafka.bootstrap_servers for kafka in each), client=each[0].client)

    def __enter__(self) -> LocalCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_plan(data_dir: Path) -> ClusterPlan | None:
    """Return the plan of the cluster of a data directory; None if it has no cluster.

    Raises
    ------
    BrokerError
        If the file is unreadable.
    """
    try:
        plan = json.loads(read_private(_path(data_dir)))
        found = ClusterPlan(str(plan["cluster_id"]), tuple(plan["ports"]), tuple(plan["controller_ports"]))
        for port in (*found.ports, *found.controller_ports):
            if type(port) is not int or not 0 < port <= 65535:
                raise ValueError("no port of TCP")
        if not len(found.ports) == len(found.controller_ports) > 0:
            raise ValueError("a port is missing")
        return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokerError(f"{_path(data_dir)} cannot be read ({type(error).__name__})") from None


def _members(admin: AdminClient) -> int:
    try:
        return len(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return 0


def _path(data_dir: Path) -> Path:
    return data_dir / "cluster.json"


def _other_ports(count: int, taken: Sequence[int]) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = free_port()
        if port not in found and port not in taken:
            found.append(port)
    return found
