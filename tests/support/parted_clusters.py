"""Cluster whose nodes reach each other through proxies of the test, so that the network between them can be cut.

Node ``i`` reaches node ``j`` at 127.0.i.j, where a proxy of that pair listens, and clients reach every node directly.
Two things make it so: a hosts file of each JVM, which gives the name ``node-j`` that address, and a listener of its own
for the other nodes.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from confluent_kafka import KafkaException

from infra.broker.cluster import ClusterNode, ClusterPlan, LocalCluster
from infra.broker.ports import free_port
from infra.broker.secured_start import make_security
from infra.broker.security import ADMIN, BrokerSecurity
from schemas.private_files import read_private, replace_private
from tests.support.proxy import Proxy
from transport.clients import make_admin

_HEAP_MIB = 256
_NETWORK = """
listeners={clients}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},PEER://127.0.0.1:{peer}
advertised.listeners={clients}://{host}:{port},CONTROLLER://node-{node}:{controller},PEER://node-{node}:{peer}
inter.broker.listener.name=PEER
listener.security.protocol.map={clients}:{clients},CONTROLLER:{peers},PEER:{peers}
controller.quorum.voters={voters}
"""
#: Login of the nodes at each other in a secured cluster.
_LOGIN = """
listener.name.peer.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
 username="{user}" password="{password}";
"""


class PartableNode(ClusterNode):
    """Node that knows the others by name only."""

    def __init__(
        self, data_dir: Path, plan: ClusterPlan, number: int, peers: tuple[int, ...], security: BrokerSecurity | None
    ) -> None:
        super().__init__(data_dir, plan, number, _HEAP_MIB, ends_with_us=True, security=security)
        self.number = number
        self._peers = peers

    def _write_config(self, port: int) -> Path:
        path = super()._write_config(port)
        controllers = self._plan.controller_ports
        voters = ",".join(f"{number}@node-{number}:{each}" for number, each in enumerate(controllers, 1))
        own = self.number - 1
        clients, host, nodes = "PLAINTEXT", "127.0.0.1", "PLAINTEXT"
        if self._security is not None:
            clients, host, nodes = "SASL_SSL", "localhost", "SASL_PLAINTEXT"
        more = _NETWORK.format(
            clients=clients, host=host, port=port, controller=controllers[own], peer=self._peers[own], peers=nodes,
            node=self.number, voters=voters,
        )  # fmt: skip
        if self._security is not None:
            more += _LOGIN.format(user=ADMIN, password=self._security.passwords[ADMIN])
        replace_private(path, read_private(path) + more.encode(), sync=False)
        names = [f"{_host(self.number, number)} node-{number}" for number in range(1, len(controllers) + 1)]
        self._hosts.write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
        return path

    def _spawn(self, java: Path, classes: str, server: Path, lock: int) -> subprocess.Popen[bytes]:
        os.environ["JAVA_TOOL_OPTIONS"] = f"-Djdk.net.hosts.file={self._hosts}"
        try:
            return super()._spawn(java, classes, server, lock)
        finally:
            del os.environ["JAVA_TOOL_OPTIONS"]

    @property
    def _hosts(self) -> Path:
        return self.data_dir / "hosts"


class PartableCluster(LocalCluster):
    """Cluster of three with a proxy for each pair of nodes and each of their two ports."""

    def __init__(self, data_dir: Path, *, is_secured: bool = False) -> None:
        security = make_security(data_dir, tls=True) if is_secured else None
        super().__init__(data_dir, 0, _HEAP_MIB, ends_with_us=True, security=security)
        self._links: dict[tuple[int, int], list[Proxy]] = {}

    def _make_nodes(self, plan: ClusterPlan) -> tuple[ClusterNode, ...]:
        numbers = range(1, len(plan.ports) + 1)
        peers = tuple(free_port() for _ in numbers)
        for one, other in permutations(numbers, 2):
            ports = peers[other - 1], plan.controller_ports[other - 1]
            self._links[one, other] = [Proxy(port, port, _host(one, other)) for port in ports]
        return tuple(
            PartableNode(self.data_dir / f"node-{number}", plan, number, peers, self._security) for number in numbers
        )

    def part(self, node: ClusterNode, timeout_s: float = 60) -> None:
        """Hold back all that a node and the others send to each other; wait until the others count it as dead.

        Clients reach it as before.
        """
        for proxy in self._links_of(node):
            proxy.stall()
        until_s = time.monotonic() + timeout_s
        while self._number(node) in self._known_to_others(node):
            assert time.monotonic() < until_s, "the node is not parted from the others"
            time.sleep(0.1)

    def join(self, node: ClusterNode) -> None:
        """End that: connections that hung go on or end, as after a cable is plugged in again."""
        for proxy in self._links_of(node):
            proxy.resume()

    def close(self) -> None:
        """Stop the nodes and the proxies."""
        self.stop()
        for proxies in self._links.values():
            for proxy in proxies:
                proxy.close()

    def _number(self, node: ClusterNode) -> int:
        return self.nodes.index(node) + 1

    def _known_to_others(self, node: ClusterNode) -> set[int]:
        """Return the nodes that live, as another node says; a new client asks the address that it was given."""
        other = next(place for place, each in enumerate(self.nodes) if each is not node)
        address = self.settings.bootstrap_servers.split(",")[other]
        try:
            found = make_admin(replace(self.settings, bootstrap_servers=address)).list_topics(timeout=10)
        except KafkaException:
            return {self._number(node)}
        return {int(each) for each in found.brokers}

    def _links_of(self, node: ClusterNode) -> list[Proxy]:
        number = self._number(node)
        return [proxy for pair, proxies in self._links.items() if number in pair for proxy in proxies]


def _host(one: int, other: int) -> str:
    """Return the address at which a node reaches another one, or itself."""
    return "127.0.0.1" if one == other else f"127.0.{one}.{other}"
