"""State of a gateway: everything that the requests share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from gateway.answer_reader import DecisionReader
from gateway.bodies import BodyMemory
from gateway.broker_time import broker_time
from gateway.claim_log import ClaimLog
from gateway.clients import Clients
from gateway.frame_publisher import FrameRequest, GatewayPublisher
from gateway.keys import KeysAtHand
from gateway.load import Load
from gateway.own_claims import OwnClaims
from gateway.presence import Presence
from gateway.problems import Problem
from gateway.settings import GatewaySettings
from gateway.siblings import Siblings
from gateway.waiting import WaitingRequests
from producers.stats import PublisherMetrics
from schemas.clock import Clock, SystemClock
from schemas.errors import NotAuthorised, TopicMissing
from schemas.records import Decision, ResultState
from schemas.settings import KafkaSettings
from transport.admin import require_topics
from transport.rights import require_rights

_log = logging.getLogger(__name__)


class GatewayLine:
    """Line behind the gateway: publisher, reader, and the requests at hand.

    The methods run in the event loop that `attach` names, unless they say otherwise.

    Raises
    ------
    BrokerUnavailable, TopicMissing, NotAuthorised, RegistryError
        If the line is not there at the start.
    SettingsError
        If the file for labels has no private key.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: GatewaySettings,
        clients: Clients,
        metrics: PublisherMetrics,
        clock: Clock | None = None,
        *,
        siblings: Siblings | None = None,
    ) -> None:
        self.kafka = self.labels_kafka = kafka
        if settings.label_key is not None:
            from transport.signing_key import read_signing_key  # it takes 50 ms, and most gateways sign no labels

            read_signing_key(settings.label_key, "--label-key")
            self.labels_kafka = replace(kafka, signing_key=str(settings.label_key))
        self.settings = settings
        self.clients = clients
        self.clock = clock or SystemClock()
        self.siblings = siblings
        self.waiting = WaitingRequests()
        clock_s = self.clock.monotonic_s
        per_client = settings.waiting if len(clients) == 1 else settings.waiting_per_client
        self.load = Load(settings.waiting, per_client, settings.worker_silent_s, settings.kept_s, clock_s)
        self.keys = KeysAtHand()
        self.memory = BodyMemory(settings.most_body_bytes, _share_bytes(settings, len(clients)))
        self.is_draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        require_topics(kafka, [kafka.frames, kafka.decisions])
        require_rights(kafka, read=[kafka.decisions], write=[kafka.frames])
        self.claims, line_clock = self._make_claims()
        self.reader = DecisionReader(kafka, settings, self._read, line_clock)
        try:
            self.reader.open()
            self.claims.open()
            self.publisher = GatewayPublisher(kafka, settings, metrics, self._not_published, self.clock)
        except BaseException:
            self.claims.close()
            self.reader.close()
            raise

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event loop of the requests."""
        self._loop = loop

    def close(self) -> None:
        """Close the clients of Kafka, after the last request."""
        self._loop = None
        self.publisher.close()
        self.claims.close()
        self.reader.close()

    @property
    def is_alive(self) -> bool:
        """True while the threads of the line live."""
        return self.reader.is_running and self.claims.is_running and self.publisher.is_running

    @property
    def blocker(self) -> Problem | None:
        """Reason for which no request is taken at the moment, or None."""
        if self.is_draining:
            return Problem("draining", "the gateway is stopping", retry_after_s=1)
        if self.reader.fault is not None:
            return Problem("broker-away", f"no decision can be read: {self.reader.fault}", retry_after_s=1)
        if not self.reader.connected:
            return Problem("broker-away", "the brokers of the line do not answer", retry_after_s=1)
        if not self.reader.is_ready or not self.claims.is_ready:
            return Problem("not-ready", "the gateway still reads the decisions of the last minutes", retry_after_s=1)
        return None

    def require_line(self) -> None:
        """Check that requests are taken.

        Raises
        ------
        Problem
            ``draining``, ``broker-away`` or ``not-ready``.
        """
        problem = self.blocker
        if problem is not None:
            raise problem

    async def publish(self, request: FrameRequest, until_s: float) -> str:
        """Publish the frame of a request, and return its id.

        Parameters
        ----------
        until_s
            Monotonic time at which the wait for an image store ends, in seconds.

        Raises
        ------
        Problem
            If the frame was not published.
        """
        reference = None
        if self.publisher.needs_store(request.image):
            storing = asyncio.to_thread(self.publisher.store, request)
            try:
                reference = await asyncio.wait_for(storing, max(0.0, until_s - self.clock.monotonic_s()))
            except TimeoutError:
                raise Problem("deadline-exceeded", "the image store did not take the image in time") from None
        frame_id = self.publisher.publish(request, reference)
        self.load.sent(frame_id)
        return frame_id

    def known(self, frame_id: str) -> Decision | None:
        """Return the decision on a frame if it is there, and if no better one can come."""
        decision = self.reader.index.get(frame_id)
        return decision if decision is None or self._is_final(decision) else None

    async def decision(self, frame_id: str, until_s: float, presence: Presence) -> Decision | None:
        """Return the decision on a frame as soon as it is there; None if it is not there in time.

        Parameters
        ----------
        until_s
            Monotonic time at which the wait ends, in seconds.
        presence
            Client that waits. If it hangs up, the wait ends.

        Raises
        ------
        Problem
            ``broker-away`` if Kafka does not accept the frame, ``draining`` if the gateway stops meanwhile.
        ClientDisconnect
            If the client hangs up.
        """
        with self.waiting.register(frame_id) as future, presence.ends(future), self.load.waits(frame_id):
            # The reader keeps a decision before it looks for requests that wait, and here the order is the other way.
            known = self.known(frame_id)
            if known is not None:
                self._answered(known)
                return known
            try:
                return await asyncio.wait_for(future, max(0.0, until_s - self.clock.monotonic_s()))
            except TimeoutError:
                return self.known(frame_id)

    def knows(self, frame_id: str) -> bool:
        """Return True if this process published a frame in the last minutes, or knows its decision or its key."""
        return self.load.is_open(frame_id) or frame_id in self.reader.index or self.claims.has(frame_id)

    async def siblings_know(self, frame_id: str) -> bool:
        """Return True if another process of this gateway published a frame, or knows its decision."""
        return self.siblings is not None and await self.siblings.know(frame_id)

    def _make_claims(self) -> tuple[OwnClaims, Clock]:
        """Return the claims of all gateways, and the broker's time.

        If the line has no topic for them, they are the claims and the time of this gateway.
        """
        kafka = self.kafka
        try:
            require_topics(kafka, [kafka.http_keys])
            require_rights(kafka, read=[kafka.http_keys], write=[kafka.http_keys])
        except (TopicMissing, NotAuthorised) as error:
            _log.warning("idempotency keys hold in this gateway only, other gateways do not know them: %s", error)
            return OwnClaims(self.settings, self.clock), self.clock
        clock = broker_time(kafka, self.clock)
        return ClaimLog(kafka, self.settings, self._call, clock), clock

    def drain(self) -> None:
        """Take no more requests."""
        self.is_draining = True

    def give_up(self) -> None:
        """End the requests that still wait."""
        self.waiting.fail_all("draining", "the gateway stopped before the decision came")

    def _read(self, decision: Decision) -> None:
        """Pass a decision on frames of this gateway to its event loop. Runs in the thread of the reader."""
        if self.load.is_open(decision.frame_id) or self.waiting.is_waited_for(decision.frame_id):
            self._call(lambda: self._answered(decision))

    def _not_published(self, frame_id: str, reason: str) -> None:
        """Runs in a thread of the publisher."""
        self._call(lambda: self._failed(frame_id, reason))

    def _call(self, work: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(work)
            except RuntimeError:  # the loop has ended, and with it all requests
                self._loop = None

    def _answered(self, decision: Decision) -> None:
        self.load.answered(decision.frame_id)
        if self._is_final(decision):
            self.waiting.answer(decision)

    def _is_final(self, decision: Decision) -> bool:
        """Return False if one of two groups of workers has shed a frame that the other one may still inspect."""
        if decision.result_state is not ResultState.ABORTED or not self.reader.has_two_groups:
            return True
        return decision.deadline_at_us is None or self.clock.utc_us() >= decision.deadline_at_us

    def _failed(self, frame_id: str, reason: str) -> None:
        self.load.failed(frame_id)
        self.claims.release(frame_id)
        problem = Problem(
            "broker-away", f"Kafka did not accept the frame: {reason}", retry_after_s=1, instance=frame_id
        )
        self.waiting.fail(frame_id, problem)


def _share_bytes(settings: GatewaySettings, clients: int) -> int:
    """Return the memory for the bodies of one client, in bytes: room for a largest image and its form at least."""
    total = settings.most_body_bytes
    least = (settings.largest_image_mib + 1) * 1024 * 1024
    return total if clients == 1 else min(total, max(total // 2, least))
