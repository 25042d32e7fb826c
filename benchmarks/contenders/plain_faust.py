"""Plain Faust app as in Faust's tutorial: an agent that inspects inline and awaits ``send``.

One process works on one frame at a time; more workers of the same app scale it.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import faust

from benchmarks.contenders.job import Network, answer, parse


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    job = parse(__doc__)
    network = Network(job.model)
    with tempfile.TemporaryDirectory() as scratch:
        app = faust.App(
            job.group,
            broker=f"kafka://{job.bootstrap_servers}",
            value_serializer="raw",
            key_serializer="raw",
            store="memory://",
            datadir=scratch,
        )
        frames = app.topic(job.frames, value_type=bytes, key_type=bytes)
        decisions = app.topic(job.decisions, value_type=bytes, key_type=bytes)

        @app.agent(frames)
        async def inspect(stream: Any) -> None:
            async for event in stream.events():
                message = event.message
                score = network.score(event.value)
                await decisions.send(key=event.key, value=answer(message.partition, message.offset, score))

        sys.argv = ["faust", "worker", "--without-web", "--loglevel", "warn"]
        app.main()


if __name__ == "__main__":
    main()
