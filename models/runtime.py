"""The one place that sets up ONNX Runtime."""

from __future__ import annotations

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

#: What ONNX Runtime raises; its exceptions have no common base but Exception.
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    found for name in dir(_state) if isinstance(found := getattr(_state, name), type) and issubclass(found, Exception)
)

_FATAL = 4


def make_session(data: bytes, threads: int) -> ort.InferenceSession:
    """A CPU session of a model's bytes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A thread that spins for work takes a core from the other frames of the line.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Its own .ort format would pass by the checks made on the ONNX bytes.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Everything it logs at load it also raises, and what it raises is shown once, in our words.
    options.log_severity_level = _FATAL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def explain(error: Exception) -> str:
    """The error in one line, without the runtime's source paths before it.

    Examples
    --------
    >>> explain(RuntimeError("[ONNXRuntimeError] : 1 : FAIL : bad\\n graph"))
    'bad graph'
    """
    return " ".join(str(error).split()).rpartition("[ONNXRuntimeError] : ")[2].split(" : ", 2)[-1][:300]
