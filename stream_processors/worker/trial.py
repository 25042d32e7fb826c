"""Child process of a trial: it reads and inspects suspect messages, and dies of them in place of the worker.

Started by `stream_processors.worker.trials` as ``python -m stream_processors.worker.trial``. Standard input carries
blocks, each with its length in 8 bytes, big endian: first the settings, pickled by the parent; then for each message
its value and, if known already, the image from the store. Standard output carries one line of JSON for each step::

    {"ready": true}                                the model is loaded
    {"frame": {...}}                               the record could be read; this is its head, without the image
    {"done": true}                                 it was inspected
    {"done": true, "kind": "...", "reason": "..."} its image was refused
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import select
from typing import Any

from transport.limited_child import limit_child
from transport.logs import set_up_tracebacks

#: Time without a message after which the child ends, in seconds; the next suspect gets a new child.
_IDLE_S = 60.0
#: Processor time after which a child ends in any case, in seconds for each message.
_CPU_S = 600


def main() -> None:
    """Answer trials until the input ends."""
    limit_child()
    set_up_tracebacks()
    _limit_processor_time()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # prints of libraries go to the log, not between the answers
    kafka, model_dir, memory_bytes = pickle.loads(_block() or b"")  # noqa: S301 - from the process that started us

    from models import load_model
    from schemas.avro_values import as_values
    from schemas.codec import Codec
    from schemas.errors import CodecError
    from schemas.records import Frame
    from stream_processors.worker.frame_processor import InspectionFailure, inspect_frames

    model, codec = load_model(model_dir), Codec.from_settings(kafka)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))

    def say(**what: Any) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    say(ready=True)
    while (value := _block()) is not None:
        fetched = _block()
        _limit_processor_time()
        try:
            frame = codec.decode(value, Frame)
        except CodecError:
            say(done=True)  # the worker will find and report the same
            continue
        say(frame={**as_values(frame), "image": None})
        image = fetched or frame.image
        [[found]] = inspect_frames([(frame, image)], (model,)) if image else [[None]]
        if isinstance(found, InspectionFailure):
            say(done=True, kind=found.kind, reason=found.reason)
        else:
            say(done=True)


def _block() -> bytes | None:
    """Return the next block; None at the end of the input, or if no block comes for a while."""
    if not select.select([0], [], [], _IDLE_S)[0]:
        return None
    size = _read(8)
    return _read(int.from_bytes(size, "big")) if len(size) == 8 else None


def _read(size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (more := os.read(0, min(size - len(content), 1_048_576))):
        content += more
    return bytes(content)


def _limit_processor_time() -> None:
    """Restart the count: the processor time of earlier messages does not count for this one."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    limit_s = int(used.ru_utime + used.ru_stime) + _CPU_S
    if most != resource.RLIM_INFINITY:
        limit_s = min(limit_s, most)
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, most))


if __name__ == "__main__":
    main()
