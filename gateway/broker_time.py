"""Time of the broker: a gateway finds the decisions and claims of the last minutes by it.

The clock of a gateway's machine may be hours off, as one that is set to local time. By that clock the last minutes
would begin in the future, and all that was decided and claimed would be forgotten at a start.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message

from gateway.claims import Claim
from gateway.identity import KEYED
from schemas.clock import Clock
from schemas.settings import KafkaSettings
from transport.producer import make_producer

_log = logging.getLogger(__name__)
_TIMEOUT_S = 5.0
#: Difference of the two clocks that is reported, in seconds; that of `inspection doctor`.
_REPORTED_S = 5.0


@dataclass(frozen=True, slots=True)
class BrokerTime:
    """Clock that shows the broker's time.

    Parameters
    ----------
    clock
        Clock of this machine.
    ahead_us
        Time by which it is ahead of the broker's, in microseconds.
    """

    clock: Clock
    ahead_us: int

    def utc_us(self) -> int:
        """Return the UTC time in microseconds since 1970."""
        return self.clock.utc_us() - self.ahead_us

    def monotonic_s(self) -> float:
        """Return the seconds of a clock that only goes forward."""
        return self.clock.monotonic_s()


def broker_time(kafka: KafkaSettings, clock: Clock) -> Clock:
    """Return a clock that shows the broker's time; that of this machine if the broker does not tell its time.

    Kafka shows its time only in the timestamp of a message. So this function writes one to the topic of claims, whose
    messages the broker stamps: the release of a claim that nobody made, which has no effect.
    """
    ahead_us: list[int] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        kind, at_ms = message.timestamp()
        if error is None and kind == TIMESTAMP_LOG_APPEND_TIME:
            ahead_us.append(clock.utc_us() - at_ms * 1000)

    name = uuid.uuid4().hex
    unused = Claim(name, f"{KEYED}.-.{name}.-", 0.0, is_release=True)
    try:
        producer = make_producer(kafka, {"enable.idempotence": False, "delivery.timeout.ms": round(_TIMEOUT_S * 1000)})
        producer.produce(kafka.http_keys, unused.encode(), unused.key.encode(), on_delivery=delivered)
        producer.flush(_TIMEOUT_S)
    except KafkaException as error:
        _log.warning("the broker's time is not known, that of this machine is taken: %s", error.args[0].str())
    if not ahead_us:
        return clock
    if abs(ahead_us[0]) > _REPORTED_S * 1e6:
        _log.warning(
            "this machine's clock and the broker's differ by %.0f s, so deadlines are wrong: let NTP set both",
            abs(ahead_us[0]) / 1e6,
        )
    return BrokerTime(clock, ahead_us[0])
