"""Detection of changes of a topic while it is followed: new partitions, or a topic that was deleted and re-created."""

from __future__ import annotations

import logging
import threading

from schemas.errors import InspectionError
from schemas.settings import KafkaSettings
from transport.topic_identity import TopicIdentities, TopicIdentity

log = logging.getLogger(__name__)


class TopicWatch:
    """Thread that regularly asks the cluster for a topic's identity.

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

    def close(self) -> None:
        """Stop the thread. Does not wait for a request in flight."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._changed = self._identities.of([self._topic])[self._topic]
            except InspectionError as error:  # broker unreachable, or topic missing for now: retried
                log.debug("%s: %s", self._topic, error)
