"""Detection of changes of a topic while it is followed: new partitions, another topic of the name, a lost right."""

from __future__ import annotations

import logging
import threading

from schemas.errors import InspectionError, NotAuthorised, TopicMissing
from schemas.settings import KafkaSettings
from transport.surviving import surviving
from transport.topic_identity import TopicIdentities, TopicIdentity

log = logging.getLogger(__name__)


class TopicWatch:
    """Thread that regularly asks the cluster for a topic's identity, and for the right to read it.

    Parameters
    ----------
    known
        Identity at the start.
    every_s
        Seconds between two requests.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, known: TopicIdentity, every_s: float) -> None:
        self._topic = topic
        self._every_s = every_s
        self._identities = TopicIdentities(kafka)
        self._known = known
        self._changed: TopicIdentity | None = None
        self._refusals = 0
        #: Missing right, or missing topic, for which the topic cannot be read; None while it can.
        self.fault: NotAuthorised | TopicMissing | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"topic-watch {topic}", daemon=True)
        self._thread.start()

    def change(self) -> tuple[TopicIdentity, TopicIdentity] | None:
        """Return the identity before and after a change, once for each change; None if nothing has changed."""
        changed = self._changed
        if changed is None or changed == self._known:
            return None
        before, self._known = self._known, changed
        return before, changed

    def refuse_read(self) -> None:
        """Record that a broker has refused to let the topic be read, until the cluster grants it. Thread-safe."""
        self._refusals += 1
        self._set(NotAuthorised("topic", self._topic, "READ"))

    def close(self) -> None:
        """Stop the thread. Does not wait for a request in flight."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            with surviving(log, f"the watch of {self._topic}"):
                self._look()

    def _look(self) -> None:
        refusals = self._refusals
        try:
            self._changed = self._identities.of([self._topic], to_read=True)[self._topic]
        except (NotAuthorised, TopicMissing) as error:
            self._set(error)
        except InspectionError as error:  # no broker answers: what is known of the topic stays
            log.debug("%s: %s", self._topic, error)
        else:
            if refusals == self._refusals:  # an answer from before a refusal tells nothing
                self._set(None)

    def _set(self, fault: NotAuthorised | TopicMissing | None) -> None:
        before, self.fault = self.fault, fault
        if str(fault) == str(before):
            return
        if fault is None:
            log.warning("%s can be read again", self._topic)
        else:
            log.error("%s cannot be read: %s", self._topic, fault)
