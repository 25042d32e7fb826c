"""Topic of the consumer groups, made before the first group needs it.

Kafka makes ``__consumer_offsets`` when the first group asks for its coordinator. On a cluster with fewer registered
brokers than ``offsets.topic.replication.factor`` this fails, again and again, and every group waits in silence. So the
topic is made while all brokers are there.
"""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ClusterMetadata, ConfigResource, NewTopic  # type: ignore[attr-defined]

from transport.clients import AdminClient

log = logging.getLogger(__name__)

NAME = "__consumer_offsets"
_COPIES, _PARTITIONS, _SEGMENT = (
    f"offsets.topic.{end}" for end in ("replication.factor", "num.partitions", "segment.bytes")
)


def ensure_offsets_topic(admin: AdminClient, cluster: ClusterMetadata, timeout_s: float) -> bool:
    """Make the topic as the brokers would make it, if it is missing; return True if it was made.

    A cluster that does not show its settings, or does not permit it, is left alone: its operator sees to it.
    """
    if NAME in cluster.topics:
        return False
    try:
        wanted = _settings(admin, cluster, timeout_s)
        topic = NewTopic(
            NAME,
            num_partitions=int(wanted[_PARTITIONS]),
            replication_factor=min(int(wanted[_COPIES]), len(cluster.brokers)),
            config={"cleanup.policy": "compact", "segment.bytes": wanted[_SEGMENT], "compression.type": "producer"},
        )
        for future in admin.create_topics([topic], operation_timeout=timeout_s, request_timeout=timeout_s).values():
            future.result()
    except (KafkaException, KeyError, ValueError) as error:
        cause = error.args[0].str() if isinstance(error, KafkaException) else f"no {error}"
        if not isinstance(error, KafkaException) or error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            log.warning("%s is left to Kafka, which makes it once all brokers are there (%s)", NAME, cause)
        return False
    return True


def _settings(admin: AdminClient, cluster: ClusterMetadata, timeout_s: float) -> dict[str, str]:
    resource = ConfigResource(ConfigResource.Type.BROKER, str(min(cluster.brokers)))
    [future] = admin.describe_configs([resource], request_timeout=timeout_s).values()
    return {name: entry.value for name, entry in future.result().items() if entry.value is not None}
