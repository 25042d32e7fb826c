"""Errors of the local broker."""

from __future__ import annotations

from schemas.errors import InspectionError


class BrokerError(InspectionError):
    """Error: the local broker cannot be started or stopped; the message says what to do."""


class KafkaUnresolved(BrokerError):
    """Error: there is no Kafka to run, neither a distribution nor its jars."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"no Apache Kafka to run ({why}). Three ways: set KAFKA_HOME to an unpacked distribution; "
            "use a cluster that runs already with --bootstrap-servers host:port; "
            "or start one in containers with `docker compose -f infra/compose.yaml up kafka`"
        )
