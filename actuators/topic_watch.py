"""Notice that a topic has got partitions, or was deleted and created again, while it is followed."""

from __future__ import annotations

import logging
import threading

from schemas.errors import InspectionError
from schemas.topic_identity import TopicIdentities, TopicIdentity

log = logging.getLogger(__name__)


class TopicWatch:
    """A thread that asks the cluster for a topic's identity now and then.

    Parameters
    ----------
    known
        The identity at the start.
    every_s
        Seconds between two questions.
    """

    def __init__(self, bootstrap_servers: str, topic: str, known: TopicIdentity, every_s: float) -> None:
        self._topic = topic
        self._every_s = every_s
        self._identities = TopicIdentities(bootstrap_servers)
        self._known = known
        self._changed: TopicIdentity | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"topic-watch {topic}", daemon=True)
        self._thread.start()

    def change(self) -> tuple[TopicIdentity, TopicIdentity] | None:
        """Return the identity before and after a change, once for each change; None without one."""
        changed = self._changed
        if changed is None or changed == self._known:
            return None
        before, self._known = self._known, changed
        return before, changed

    def close(self) -> None:
        """End. A question that is under way is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._changed = self._identities.of([self._topic])[self._topic]
            except InspectionError as error:  # the broker is gone, or the topic for now: asked again
                log.debug("%s: %s", self._topic, error)
