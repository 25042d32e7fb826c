"""ONNX Runtime with its telemetry off. Import it only from this module.

The wheel of ONNX Runtime writes a device id and a database of events into the user's cache, and looks up a host to send
them to. It reads the environment variable at import; its own function to turn telemetry off comes too late.
(Privacy.md of ONNX Runtime: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md.)
"""

from __future__ import annotations

import os
import re

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from models.processor import multiplies_bytes_exactly

#: Exceptions of ONNX Runtime; they have no common base except Exception.
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    found for name in dir(_state) if isinstance(found := getattr(_state, name), type) and issubclass(found, Exception)
)

_FATAL = 4


def make_session(data: bytes, threads: int) -> ort.InferenceSession:
    """Return a CPU session for the bytes of a model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A thread that spins while it waits for work takes a core from the other frames of the line.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A model in the runtime's own .ort format would bypass our checks of the ONNX bytes.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Without this option, 8-bit products saturate on x86 processors without VNNI (AVX2, older AVX-512), and the same
    # model decides differently there. With VNNI the results are the same, and the option takes twice the time.
    if not multiplies_bytes_exactly():
        options.add_session_config_entry("session.x64quantprecision", "1")
    # The runtime raises every error that it logs at load. We show the raised error once, in our words.
    options.log_severity_level = _FATAL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


#: Place in the runtime's source, with the function.
_PLACE = re.compile(r"^/\S+:\d+ [^(]*(?=\()")
#: Faults that have a remedy.
_REMEDIES = (
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        "it has the IR version {}, and this ONNX Runtime reads up to {}: save it with an older version of onnx",
    ),
    (
        re.compile(r"Opset (\d+) is under development.* till opset (\d+)"),
        "it has opset {}, and this ONNX Runtime reads up to {}: export it with opset_version=17",
    ),
    (
        re.compile(r"((?:[\w.-]*:)?\w+)\(-?\d+\) is not a registered function/op"),
        "ONNX Runtime has no operator {}: export the model with standard operators",
    ),
)


def runtime_error_line(error: Exception) -> str:
    """Return the text of an error in one line, without the runtime's source paths before it; a remedy if there is one.

    Examples
    --------
    >>> runtime_error_line(RuntimeError("[ONNXRuntimeError] : 1 : FAIL : bad\\n graph"))
    'bad graph'
    >>> runtime_error_line(RuntimeError("[ONNXRuntimeError] : 1 : FAIL : /src/m.cc:25 f::M(g::P&&, h<i()>) bad"))
    'bad'
    """
    text = " ".join(str(error).split()).rpartition("[ONNXRuntimeError] : ")[2].split(" : ", 2)[-1]
    if (place := _PLACE.match(text)) is not None:
        text = _behind_parentheses(text[place.end() :])
    for pattern, remedy in _REMEDIES:
        if (found := pattern.search(text)) is not None:
            return remedy.format(*found.groups())
    return text[:300]


def _behind_parentheses(text: str) -> str:
    """Return what follows the parentheses that a text begins with; all of it if they have no end."""
    depth = 0
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if not depth:
            return text[at + 1 :].strip()
    return text


__all__ = ["ORT_ERRORS", "make_session", "ort", "runtime_error_line"]
