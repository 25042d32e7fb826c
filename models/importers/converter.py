"""Parent of a conversion: starts the script of a framework in its environment, and exchanges JSON lines with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import ImportRefused
from schemas.plain_files import real_path

_SCRIPTS = Path(__file__).with_name("converters")
_SHOWN = 300
#: Part of a framework's message -> remedy.
_CURES = {
    "Weights only load": "it has pickled objects, whose loading runs code: use --trust-pickle if the file is yours",
    "Lambda": "it has a Lambda layer, which runs code of the file: use --trust-pickle if the file is yours",
    "Could not locate class": "it has classes of your own: export it as a SavedModel, model.export('folder')",
    "Could not locate function": "it has functions of your own: export it as a SavedModel, model.export('folder')",
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of a converted model, by the framework.

    Parameters
    ----------
    input_name, input_dtype, input_shape
        The one input; None for a free axis.
    outputs
        Shape of each output for one image.
    versions
        Versions of the framework's packages.
    """

    input_name: str
    input_dtype: str
    input_shape: tuple[int | None, ...]
    outputs: Mapping[str, tuple[int, ...]]
    versions: Mapping[str, str]


def script_of(framework: str) -> Path:
    """Return the path of the converter of a framework."""
    return _SCRIPTS / f"convert_{framework}.py"


class Converter:
    """Child process with a framework: `convert` first, then `run`. A context manager that ends the process.

    Parameters
    ----------
    python
        Interpreter of the framework's environment.
    script
        Converter of the framework, see `script_of`.
    work
        Folder for the files of the conversion; also the child's home folder.
    time_limit_s
        Time for everything together, after which the child is ended.
    """

    def __init__(self, python: Path, script: Path, work: Path, time_limit_s: float) -> None:
        self._python, self._script, self._work = python, script, work
        self._time_limit_s, self._timed_out = time_limit_s, False
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TZ")}
        kept |= {name: value for name, value in os.environ.items() if name.startswith(("OPENBLAS_", "OMP_"))}
        environment = kept | {
            "HOME": str(self._work),
            "TMPDIR": str(self._work),
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "KERAS_BACKEND": "tensorflow",
            "HF_HUB_OFFLINE": "1",
        }
        self._log = (self._work / "converter.log").open("wb")
        try:
            self._child = subprocess.Popen(
                [str(self._python), str(_SCRIPTS / "host.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._log, env=environment, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise ImportRefused(f"--python {self._python}: {error.strerror or error}") from error
        try:
            self._timer = threading.Timer(self._time_limit_s, self._end_late)
            self._timer.daemon = True
            self._timer.start()
        except BaseException:  # a signal: `__exit__` does not run
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._kill()
        assert self._child is not None
        for stream in (self._child.stdin, self._child.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        self._child.wait()
        self._log.close()

    def convert(self, job: Mapping[str, Any]) -> ModelFacts:
        """Convert the model of the job; the child writes the ONNX file.

        Raises
        ------
        ImportRefused
            If the framework refuses the model, fails, or takes too long.
        """
        found = self._ask({**job, "script": str(self._script)}, "converted")
        return ModelFacts(
            found["input"]["name"],
            found["input"]["dtype"],
            tuple(found["input"]["shape"]),
            {name: tuple(shape) for name, shape in found["outputs"].items()},
            found["versions"],
        )

    def run(
        self, tensors: Sequence[NDArray[Any]], images: Sequence[Path], spec: Mapping[str, Any]
    ) -> tuple[list[dict[str, NDArray[Any]]], list[dict[str, NDArray[Any]]]]:
        """Return the framework's outputs for tensors, and for images that it decodes and resizes itself.

        The second list is empty if the framework has no such way.

        Raises
        ------
        ImportRefused
            If the framework fails or takes too long.
        """
        given, outputs, own = (self._work / name for name in ("tensors.npz", "outputs.npz", "own_outputs.npz"))
        np.savez(given, *tensors)
        job = {"tensors": str(given), "outputs": str(outputs), "own_outputs": str(own), "input": dict(spec)}
        self._ask({**job, "images": [str(real_path(path)) for path in images]}, "ran")
        return _read(outputs, len(tensors)), _read(own, len(images)) if own.exists() else []

    def _ask(self, job: Mapping[str, Any], stage: str) -> dict[str, Any]:
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(job).encode() + b"\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if self._timed_out:
            raise ImportRefused(f"the conversion took over {self._time_limit_s:g} s: --time-limit allows more")
        answer: dict[str, Any] = json.loads(line) if line else {}
        if answer.get("stage") == stage:
            return answer
        if answer.get("stage") == "refused":
            raise ImportRefused(answer["error"])
        reason = " ".join(str(answer.get("error") or self._last_line()).split())
        cure = next((cure for part, cure in _CURES.items() if part in reason), None)
        raise ImportRefused(f"the framework does not convert the model: {cure or reason[:_SHOWN]}")

    def _last_line(self) -> str:
        assert self._child is not None
        status = self._child.wait()
        text = (self._work / "converter.log").read_bytes()[-4096:].decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return (lines or [f"its process ended with status {status}"])[-1][:_SHOWN]

    def _end_late(self) -> None:
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        """End the child and the processes that it started."""
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)


def _read(path: Path, count: int) -> list[dict[str, NDArray[Any]]]:
    found: list[dict[str, NDArray[Any]]] = [{} for _ in range(count)]
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            number, _, name = key.partition(":")
            found[int(number)][name] = arrays[key]
    return found
