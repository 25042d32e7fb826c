"""Trial of a model that is new here: it is loaded and run in a child process first, within limits.

A few hundred bytes of ONNX can be a loop without end, or a constant of 6 GB: the only check is to run it, and that must
not end the worker. A passed trial is remembered by the hash of the model and of its run settings, in the user's cache
directory if that is writable. The three models that ship need no trial.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.preprocess import Tensor
from models.runtime import ort
from schemas.errors import SettingsError
from schemas.private_files import make_private_folder, read_private, replace_private
from schemas.user_folders import user_folder

MEMORY_VARIABLE, SECONDS_VARIABLE = "INSPECTION_MODEL_MEMORY_MIB", "INSPECTION_MODEL_LOAD_SECONDS"
#: sha256 of the models that ship with this package.
SHIPPED = frozenset(
    {
        "0f588f2cc4c4b45637eb886529860122e63c6650b97ccc6f38e07f66c0ad83bf",
        "31e6e854ba3c864a4dc037be31c6d6aba4859fd837b4e24c051e7d1c8878b53d",
        "4c2884d9a7ba65f3ce3f6dca81b320297a9f2f2376abed2690b8946492d31e89",
    }
)
_CHILD = Path(__file__).with_name("trial_child.py")
#: Memory for each byte of the file, in addition to the limit: the file itself, parsed, and packed for the processor.
_MEMORY_PER_BYTE = 4
#: Interval between two looks at a process that takes long, in seconds.
_LOOK_S = 0.5
#: Most elapsed time for each second of processor time that the limit allows.
_ELAPSED = 10
#: Messages of ONNX Runtime when an allocation fails.
_NO_MEMORY = ("bad_alloc", "allocate memory", "out of memory", "MemoryError", "Failed to allocate", "bad allocation")


class TrialFailed(ValueError):
    """Failed trial: the model may not be loaded here. The message has the reason and the variable that allows more."""


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """Limits on loading a model and running it a few times.

    Parameters
    ----------
    memory_mib
        Writable memory, in addition to four times the file.
    seconds
        Processor time, including that of the start of the child process; elapsed time may be ten times as long, because
        other programs may have the processor.
    """

    memory_mib: int = 2048
    seconds: float = 30.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> TrialLimits:
        """Read ``INSPECTION_MODEL_MEMORY_MIB`` and ``INSPECTION_MODEL_LOAD_SECONDS``.

        Raises
        ------
        SettingsError
            If one is not a number above 0.

        Examples
        --------
        >>> TrialLimits.from_env({"INSPECTION_MODEL_MEMORY_MIB": "4096"})
        TrialLimits(memory_mib=4096, seconds=30.0)
        """
        return cls(
            round(_positive(env, MEMORY_VARIABLE, cls().memory_mib)), _positive(env, SECONDS_VARIABLE, cls().seconds)
        )


def _positive(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= 1e9:
        raise SettingsError(f"{name}={text!r}: a number from 1 on, such as {default:g}")
    return value


@dataclass(frozen=True, slots=True)
class TrialJob:
    """Model to try: its file and sha256, number of threads, name of the input, and names of the outputs."""

    file: str
    sha256: str
    threads: int
    input: str
    outputs: tuple[str, ...]


def try_out(job: TrialJob, tensors: Sequence[Tensor], limits: TrialLimits) -> str:
    """Load a model and run it on tensors, in a child process; return at once if that passed before.

    Returns
    -------
    str
        Message of the runtime if it could not run the model (its inputs or outputs may differ), empty if it ran.

    Raises
    ------
    TrialFailed
        If the model does not load, takes more memory or time than the limits, or ends the process.
    """
    if job.sha256 in SHIPPED:
        return ""
    mark = _mark(job, tensors, limits)
    with contextlib.suppress(OSError):
        if mark is not None and read_private(mark) == job.sha256.encode():
            return ""
    error = _run(job, tensors, limits)
    if not error:
        _remember(mark, job.sha256)
    return error


def _run(job: TrialJob, tensors: Sequence[Tensor], limits: TrialLimits) -> str:
    memory = limits.memory_mib * 1024**2 + _MEMORY_PER_BYTE * os.path.getsize(job.file)
    asked = {**asdict(job), "memory_bytes": memory, "seconds": limits.seconds, "tensors": len(tensors)}
    # The child imports from the same paths as this process, including those of PYTHONPATH and `pip install --user`.
    asked["path"] = [each for each in sys.path if os.path.isabs(each)]
    given = io.BytesIO()
    given.write(json.dumps(asked).encode() + b"\n")
    for tensor in tensors:
        np.save(given, tensor, allow_pickle=False)
    # -P, and no PYTHONPATH, which may be relative, so that no module of the current directory is imported.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    try:
        done = _run_child(given.getbuffer(), environment, limits.seconds)
    except subprocess.TimeoutExpired as error:
        stage = "run" if b"loaded" in (error.stdout or b"") else "load"
        raise TrialFailed(
            f"does not {stage} within {limits.seconds:g} s: a loop without end, or a slow model; "
            f"{SECONDS_VARIABLE} allows more"
        ) from None
    except OSError as error:
        raise TrialFailed(f"cannot be tried in a process of its own: {error.strerror or error}") from error
    said = [json.loads(line) for line in done.stdout.splitlines()]
    last = said[-1] if said else {}
    error_text = str(last.get("error", ""))
    if any(word in error_text for word in _NO_MEMORY):
        raise TrialFailed(
            f"takes more than {memory // 1024**2} MiB of memory: {error_text[:120]}; {MEMORY_VARIABLE} allows more"
        )
    if last.get("stage") == "load":
        raise TrialFailed(f"does not load: {error_text}")
    if last.get("stage") == "run":
        return error_text or "no reason given"
    if last.get("stage") != "ran" or done.returncode:
        stage = "running" if said else "loading"
        ended, reason = f"ends the process while {stage} (status {done.returncode})", _last_line(done.stderr)
        if reason.startswith("ModuleNotFoundError"):
            raise TrialFailed(f"cannot be tried, {sys.executable} lacks a package: {reason}")
        raise TrialFailed(
            f"{ended}{f': {reason}' if reason else ''}, which may be for want of memory: "
            f"{memory // 1024**2} MiB are allowed, {MEMORY_VARIABLE} allows more"
        )
    return ""


def _run_child(given: memoryview, environment: Mapping[str, str], seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run the child process with its input.

    Raises
    ------
    subprocess.TimeoutExpired
        If it has had the processor for longer than ``seconds``, or does not end in ten times as long.
    """
    command = [sys.executable, "-P", "-B", str(_CHILD)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as child:
        ends_s = time.monotonic() + _ELAPSED * seconds
        sent: Any = given  # typeshed has `communicate` take bytes only
        wait_s = seconds
        try:
            while True:
                try:
                    stdout, stderr = child.communicate(sent, wait_s)
                except subprocess.TimeoutExpired:
                    if _processor_s(child.pid) >= seconds or time.monotonic() >= ends_s:
                        raise
                    sent, wait_s = None, _LOOK_S
                else:
                    return subprocess.CompletedProcess(command, child.returncode, stdout, stderr)
        except BaseException:
            child.kill()
            raise


def _processor_s(pid: int) -> float:
    """Return the processor time of a process, in seconds; without end where the system does not tell it (not Linux)."""
    try:
        # The name of the program, in parentheses, may have spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return math.inf


def _last_line(stderr: bytes) -> str:
    """Return the last line that a process wrote, cut, and without control characters."""
    lines = stderr[-4096:].decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "".join(each if each.isprintable() else " " for each in last)[:200]


def _mark(job: TrialJob, tensors: Sequence[Tensor], limits: TrialLimits) -> Path | None:
    """Return the file that exists if this same trial passed before; None for a user without a home folder."""
    try:
        folder = user_folder("cache") / "tried-models"
    except SettingsError:
        return None
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tensor.shape, tensor.dtype.str)).encode())
        digest.update(np.ascontiguousarray(tensor).data)
    tried = {**asdict(job), **asdict(limits), "runtime": ort.__version__, "tensors": digest.hexdigest()}
    del tried["file"]
    key = hashlib.sha256(json.dumps(tried, sort_keys=True).encode()).hexdigest()
    return folder / key


def _remember(mark: Path | None, sha256: str) -> None:
    # Without a writable directory, the next start repeats the trial.
    if mark is None:
        return
    with contextlib.suppress(OSError):
        make_private_folder(mark.parent)
        replace_private(mark, sha256.encode(), sync=False)
