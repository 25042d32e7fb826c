"""Child process of `models.trial`: loads a model and runs it, within limits of memory and time.

Run as a script, so that it imports little more than ONNX Runtime. It reads a JSON line, then tensors in NumPy's format,
from standard input, and answers with one JSON line a stage: ``{"stage": "loaded"}``, or with ``error``.
"""

from __future__ import annotations

import io
import json
import resource
import runpy
import sys
from pathlib import Path
from typing import Any


def limit(memory_bytes: int, seconds: float) -> None:
    """Limit this process: writable memory, processor time, no core file, no written file."""
    for kind, value in (
        (resource.RLIMIT_DATA, memory_bytes),
        (
            resource.RLIMIT_CPU,
            int(seconds) * 2 + 10,
        ),  # for a parent that is gone; otherwise the parent ends the child
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def main() -> None:
    """Run the trial that the parent requests."""
    job: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    limit(job["memory_bytes"], job["seconds"])
    sys.path[:] = job["path"]
    # After the limits, because the memory and time of imports count too.
    import numpy as np

    runtime = runpy.run_path(str(Path(__file__).with_name("runtime.py")))
    tensors = io.BytesIO(sys.stdin.buffer.read())
    errors = (*runtime["ORT_ERRORS"], MemoryError, RuntimeError)
    stage = "load"
    try:
        session = runtime["make_session"](Path(job["file"]).read_bytes(), job["threads"])
        answer(stage="loaded")
        stage = "run"
        for _ in range(job["tensors"]):
            session.run(job["outputs"], {job["input"]: np.load(tensors, allow_pickle=False)})
    except errors as error:
        text = " ".join(str(error).split()) or type(error).__name__
        answer(stage=stage, error=text if "bad_alloc" in text else runtime["runtime_error_line"](error) or text[:300])
    except ValueError as error:  # names that the graph does not have: the parent has a better message
        answer(stage=stage, error=str(error))
    else:
        answer(stage="ran")


def answer(**said: str) -> None:
    """Write one line to the parent."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
