"""Quix Streams app as in its documentation: an application, a topic of bytes, ``apply``, ``to_topic``.

One process works on one frame at a time; more processes in the same consumer group scale it.
"""

from __future__ import annotations

import tempfile
from typing import Any

from quixstreams import Application, message_context

from benchmarks.contenders.job import Network, answer, parse


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    job = parse(__doc__)
    network = Network(job.model)
    with tempfile.TemporaryDirectory() as scratch:
        app = Application(
            broker_address=job.bootstrap_servers,
            consumer_group=job.group,
            auto_offset_reset="earliest",
            auto_create_topics=False,
            loglevel="WARNING",
            state_dir=scratch,  # by default the working directory, where two processes of a group collide
        )
        frames = app.topic(job.frames, value_deserializer="bytes", key_deserializer="bytes")
        decisions = app.topic(job.decisions, value_serializer="bytes", key_serializer="bytes")

        def inspect(image: Any) -> bytes:
            place = message_context()
            return answer(place.partition, place.offset, network.score(image))

        app.dataframe(frames).apply(inspect).to_topic(decisions)
        app.run()


if __name__ == "__main__":
    main()
