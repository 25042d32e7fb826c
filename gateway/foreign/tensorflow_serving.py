"""REST of TensorFlow Serving: requests read, responses written. No HTTP.

A predict request has ``instances`` (rows) or ``inputs`` (columns). An image is an object ``{"b64": TEXT}``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.batch import MOST_IMAGES
from gateway.foreign.model import INPUT, MODEL, OUTPUTS, VERSION, output_values
from gateway.json_body import read_json
from gateway.problems import Problem
from schemas.records import Decision

SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """Images of a request, and True if it has rows (``instances``)."""

    images: tuple[bytes, ...]
    has_rows: bool


def model_status(is_available: bool) -> dict[str, Any]:
    """Return the status of the model."""
    status = {"error_code": "OK", "error_message": ""}
    state = "AVAILABLE" if is_available else "LOADING"
    return {"model_version_status": [{"version": VERSION, "state": state, "status": status}]}


def model_metadata() -> dict[str, Any]:
    """Return the metadata of the model."""
    signature = {
        "inputs": {INPUT: _tensor_info(INPUT, "DT_STRING")},
        "outputs": {
            name: _tensor_info(name, "DT_STRING" if is_text else "DT_DOUBLE") for name, is_text in OUTPUTS.items()
        },
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": MODEL, "signature_name": "", "version": VERSION},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor_info(name: str, kind: str) -> dict[str, Any]:
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    return {"dtype": kind, "tensor_shape": shape, "name": f"{name}:0"}


def read_predict_request(data: bytes) -> PredictRequest:
    """Read the body of a predict request.

    Raises
    ------
    Problem
        ``bad-request``.

    Examples
    --------
    >>> read_predict_request(b'{"instances": [{"b64": "/9j/"}]}')
    PredictRequest(images=(b'\\xff\\xd8\\xff',), has_rows=True)
    >>> read_predict_request(b'{"inputs": {"image": [{"b64": "/9j/"}]}}')
    PredictRequest(images=(b'\\xff\\xd8\\xff',), has_rows=False)
    """
    try:
        values = read_json(data)
    except ValueError:
        raise _bad("the request is not JSON") from None
    if not isinstance(values, dict) or ("instances" in values) == ("inputs" in values):
        raise _bad("the request is a JSON object with either 'instances' (rows) or 'inputs' (columns)")
    unknown = sorted(set(values) - {"instances", "inputs", "signature_name"})
    if unknown:
        raise _bad(f"the entry {unknown[0][:40]!r} is unknown")
    if values.get("signature_name", SIGNATURE) not in ("", SIGNATURE):
        raise _bad(f"signature_name {values['signature_name']!r:.40}: the signature is {SIGNATURE!r}")
    has_rows = "instances" in values
    items = values["instances"] if has_rows else values["inputs"]
    if not has_rows and isinstance(items, dict):
        items = _named(items)
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_IMAGES:
        raise _bad(f"a list of 1 to {MOST_IMAGES} images is expected")
    return PredictRequest(tuple(_image(item) for item in items), has_rows)


def _bad(detail: str) -> Problem:
    return Problem("bad-request", detail)


def _named(values: dict[str, Any]) -> Any:
    if set(values) != {INPUT}:
        raise _bad(f"the one input is {INPUT!r}")
    return values[INPUT]


def _image(item: object) -> bytes:
    if isinstance(item, dict) and "b64" not in item:
        item = _named(item)
    if not isinstance(item, dict) or set(item) != {"b64"} or not isinstance(item["b64"], str):
        raise _bad('an image is an object {"b64": TEXT}: its file in base64')
    try:
        return base64.b64decode(item["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise _bad("an image is not base64") from None


def write_predict_response(request: PredictRequest, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the response in the form of the request: rows or columns."""
    columns = {name: output_values(name, decisions) for name in OUTPUTS}
    if not request.has_rows:
        return {"outputs": columns}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}
