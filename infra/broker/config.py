"""Configuration files of the local broker: one KRaft node, loopback only, small and durable."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from infra.broker.security import BrokerSecurity, Tunnel
from schemas.private_files import make_private_folder, replace_private
from schemas.topics import MAX_REQUEST_BYTES

NODE_ID = 1


#: Durability: the broker acknowledges a record once it is in the page cache. The page cache survives `kill -9` of the
#: JVM, but no power cut; only the replicas of a cluster protect against that.
_SERVER = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={node}@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
{network}
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
# An open transaction blocks readers of committed messages, at most for this time (Kafka's default: 15 minutes).
transaction.max.timeout.ms=60000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# Workers may ask for less than Kafka's default of 6 s, so that others take over sooner (docs/high-availability.md).
group.min.session.timeout.ms=1000
message.max.bytes={max_bytes}
replica.fetch.max.bytes={max_bytes}
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=16777216
controlled.shutdown.enable=true
# After a kill, the next start waits until the session of the killed broker has expired (9 s by default).
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""

#: Listeners of a broker that anyone on this machine may use.
_OPEN = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{tunnel_listener}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{tunnel_advertised}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TUNNEL:PLAINTEXT"""

_LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <RollingFile name="file" fileName="{log}" filePattern="{log}.%i">
      <PatternLayout pattern="%d %p %m (%c)%n"/>
      <Policies><SizeBasedTriggeringPolicy size="10 MB"/></Policies>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
  </Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="file"/></Root></Loggers>
</Configuration>
"""


def write_config(
    directory: Path,
    port: int,
    controller_port: int,
    tunnel: Tunnel | None = None,
    security: BrokerSecurity | None = None,
) -> Path:
    """Write ``server.properties`` and ``log4j2.xml``; return the path of ``server.properties``."""
    data = directory / "data"
    make_private_folder(data)
    data.chmod(0o700)  # also if an earlier version created the folder
    server = directory / "server.properties"
    network = _OPEN.format(
        port=port,
        controller_port=controller_port,
        tunnel_listener=f",TUNNEL://127.0.0.1:{tunnel.listen_port}" if tunnel else "",
        tunnel_advertised=f",TUNNEL://127.0.0.1:{tunnel.advertised_port}" if tunnel else "",
    )
    text = _SERVER.format(
        node=NODE_ID,
        controller_port=controller_port,
        network=network if security is None else security.network(port, controller_port, tunnel),
        data=data,
        max_bytes=MAX_REQUEST_BYTES,
    )
    replace_private(server, text.encode(), sync=False)
    replace_private(directory / "log4j2.xml", _LOGGING.format(log=directory / "broker.log").encode(), sync=False)
    return server


def new_cluster_id() -> str:
    """Return a random cluster id: 16 bytes in URL-safe base64, in the form that Kafka uses.

    Examples
    --------
    >>> len(new_cluster_id())
    22
    """
    # With 32..95 the first letter is never '-', which the storage tool would take for an option.
    first = bytes([32 + secrets.randbelow(64)])
    return base64.urlsafe_b64encode(first + secrets.token_bytes(15)).decode().rstrip("=")
