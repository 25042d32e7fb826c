"""Topic of claims: written and read back, so that of all gateways the first claim of a key wins."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message

from gateway.claims import Claim, decode_claim
from gateway.own_claims import OwnClaims
from gateway.problems import Problem
from gateway.settings import GatewaySettings
from schemas.clock import Clock
from schemas.settings import KafkaSettings
from transport.batch_letters import BatchLetters
from transport.batch_trials.child import TriedMessage
from transport.clients import LONG_LIVED
from transport.limited_log import LimitedLog
from transport.producer import make_producer
from transport.tail import Tail
from transport.topic_ranges import TimeRange, time_bounds

_log = logging.getLogger(__name__)
_POLL_S = 0.1
_FETCH_BYTES = 2 * 1024 * 1024
#: Longest time until Kafka has a claim, in ms.
_DELIVERY_MS = 10_000


class ClaimLog(OwnClaims):
    """Claims of all gateways of a line, and those of this one. `take` is called from the event loop only.

    Parameters
    ----------
    call
        Passes a function to the event loop. Thread-safe.

    Raises
    ------
    BrokerUnavailable, TopicMissing
        From `open`.
    """

    def __init__(
        self, kafka: KafkaSettings, settings: GatewaySettings, call: Callable[[Callable[[], None]], None], clock: Clock
    ) -> None:
        super().__init__(settings, clock)
        self._kafka = kafka
        self._call = call
        self._limited = LimitedLog(_log)
        self._letters = BatchLetters(kafka, "gateway")
        self._tail = Tail(
            kafka, kafka.http_keys, fetch_bytes=_FETCH_BYTES, reports_end=True, on_unreadable=self._letters.write
        )
        # A claim that is written twice has no effect, so the client needs no identity, which can become invalid.
        own = {
            **LONG_LIVED, "enable.idempotence": False, "delivery.timeout.ms": _DELIVERY_MS, "error_cb": self._on_error,
        }  # fmt: skip
        self._producer = make_producer(kafka, own)
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._has_caught_up = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="claims", daemon=True)

    @property
    def is_running(self) -> bool:
        """True while the thread lives."""
        return self._thread.is_alive()

    @property
    def is_ready(self) -> bool:
        """True once all claims that existed at the start have been read."""
        return self._has_caught_up.is_set()

    def open(self) -> None:
        """Set the offset to begin at, and start the thread."""
        # A claim that has lost must not seem to be the first one: begin before the claim that it lost to.
        since_us = self._clock.utc_us() - round(2 * self._kept_s * 1e6)
        bounds = time_bounds(self._kafka, self._kafka.http_keys, TimeRange(since_us))
        self._tail.open({partition: begin for partition, (begin, _) in bounds.items()})
        self._thread.start()

    def close(self) -> None:
        """Stop the thread. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._tail.close()
        self._letters.close()
        self._limited.flush()

    async def _written(self, claim: Claim, until_s: float) -> None:
        """Write a claim, and wait until it has been read back.

        Raises
        ------
        Problem
            ``broker-away`` or ``deadline-exceeded`` if Kafka does not take the claim.
        """
        if not self._tail.connected:
            fault = self._tail.fault
            reason = "the broker of the keys does not answer" if fault is None else f"no key can be read: {fault}"
            raise Problem("broker-away", reason, retry_after_s=1, instance=claim.frame_id)
        future = self._pending[claim.claim_id] = asyncio.get_running_loop().create_future()
        try:
            self._write(claim)
            await asyncio.wait_for(future, max(0.0, until_s - self._clock.monotonic_s()))
        except (BufferError, KafkaException) as error:
            detail = f"Kafka does not take the key: {_text(error)}"
            raise Problem("broker-away", detail, retry_after_s=1, instance=claim.frame_id) from None
        except asyncio.CancelledError:  # the gateway ends
            self._release(claim)
            raise
        except TimeoutError:
            self._release(claim)  # it may be written yet
            raise Problem("deadline-exceeded", "Kafka did not take the key in time", instance=claim.frame_id) from None
        finally:
            del self._pending[claim.claim_id]

    def _write(self, claim: Claim) -> None:
        self._producer.produce(self._kafka.http_keys, claim.encode(), claim.key.encode(), on_delivery=self._on_delivery)

    def _release(self, claim: Claim) -> None:
        try:
            self._write(self._released(claim))
        except (BufferError, KafkaException) as error:  # another gateway replaces the claim when it is overdue
            self._limited.warning("release", f"{self._kafka.http_keys}: a key is not released: {_text(error)}")

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        self._limited.warning("undelivered", f"{self._kafka.http_keys}: {error.str()}")
        claim = decode_claim(message.value())
        if claim is not None and claim.claim_id in self._pending:
            self._call(lambda: self._resolve(claim.claim_id, KafkaException(error)))

    def _run(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0)
            message = self._tail.poll(_POLL_S)
            if message is not None:
                self._read(message)
            if not self._has_caught_up.is_set() and self._tail.reached_end:
                self._has_caught_up.set()
        self._producer.flush(1.0)

    def _read(self, message: Message | TriedMessage) -> None:
        claim = decode_claim(message.value())
        if claim is None:
            self._limited.warning("unreadable", f"{self._kafka.http_keys}: skipped a message that is no claim")
            return
        at_us = message.timestamp()[1] * 1000
        age_s = 0.0
        if not self._has_caught_up.is_set():
            age_s = max(0.0, (self._clock.utc_us() - at_us) / 1e6)
        self.table.add(claim, at_us, self._clock.monotonic_s() - age_s)
        if claim.claim_id in self._pending:
            self._call(lambda: self._resolve(claim.claim_id, None))

    def _resolve(self, claim_id: str, error: KafkaException | None) -> None:
        future = self._pending.get(claim_id)
        if future is not None and not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _on_error(self, error: KafkaError) -> None:
        self._limited.warning("kafka", error.str())


def _text(error: BufferError | KafkaException) -> str:
    return error.args[0].str() if isinstance(error, KafkaException) else str(error)
