"""Real Apache Kafka on loopback, without containers or root."""

from infra.broker.errors import BrokerError
from infra.broker.local import BrokerStatus, LocalBroker

__all__ = ["BrokerError", "BrokerStatus", "LocalBroker"]
