"""Open Inference Protocol (KServe v2) with Triton's binary tensors: requests read, responses written. No HTTP.

The body of an infer request is a JSON object. With the header ``Inference-Header-Content-Length`` this object has that
length, and the bytes of the tensor follow: for each element a length of 4 bytes, little-endian, and the bytes. Without
it an image is base64 text in ``data``, because JSON has no bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.batch import MOST_IMAGES
from gateway.foreign.model import INPUT, MODEL, OUTPUTS, VERSION, output_values
from gateway.image_request import FIELDS, NO_FIELDS, ImageFields, with_fields
from gateway.json_body import read_json
from gateway.problems import Problem
from gateway.whole_numbers import whole_number
from schemas.records import Decision

#: Header with the length of the JSON object.
LENGTH_HEADER = "Inference-Header-Content-Length"
BINARY_EXTENSION = "binary_tensor_data"
MOST_ID = 500
MOST_DIMENSIONS = 8
_LENGTH = struct.Struct("<I")
#: Parameters of clients that have no meaning here: priorities and sequences of Triton, encodings of MLServer.
IGNORED = {"priority", "sequence_id", "sequence_start", "sequence_end", "content_type", "headers"}


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Images of a request, and the form of its answer.

    ``wait_s`` is the parameter ``timeout``, in seconds. ``outputs`` are pairs of an output and True if its tensor is
    to be binary.
    """

    id: str | None
    images: tuple[bytes, ...]
    fields: ImageFields
    wait_s: float | None
    outputs: tuple[tuple[str, bool], ...]


def server_metadata(version: str) -> dict[str, Any]:
    """Return the metadata of the server."""
    return {"name": "streaming-inspection", "version": version, "extensions": [BINARY_EXTENSION]}


def model_metadata() -> dict[str, Any]:
    """Return the metadata of the model."""
    outputs = [{"name": name, "datatype": _datatype(name), "shape": [-1]} for name in OUTPUTS]
    return {
        "name": MODEL,
        "versions": [VERSION],
        "platform": "streaming_inspection",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": outputs,
    }


def _datatype(output: str) -> str:
    return "BYTES" if OUTPUTS[output] else "FP64"


def read_infer_request(data: bytes, head_length: str | None, query: ImageFields = NO_FIELDS) -> InferRequest:
    """Read the body of an infer request.

    Parameters
    ----------
    head_length
        The header `LENGTH_HEADER`; None for a body that is JSON alone.
    query
        Fields from the query; a parameter of the request with the same name counts instead.

    Raises
    ------
    Problem
        ``bad-request``.

    Examples
    --------
    >>> tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["/9j/"]}
    >>> read_infer_request(json.dumps({"inputs": [tensor]}).encode(), None).images
    (b'\\xff\\xd8\\xff',)
    """
    head, tail = data, b""
    if head_length is not None:
        length = whole_number(head_length)
        if length is None or length > len(data):
            raise _bad(f"{LENGTH_HEADER} {head_length[:40]!r}: the length of the JSON object, at most that of the body")
        head, tail = data[:length], data[length:]
    try:
        values = read_json(head)
    except ValueError:
        raise _bad("the request is not JSON") from None
    if not isinstance(values, dict):
        raise _bad("the request is not a JSON object")
    request_id = values.get("id")
    if request_id is not None and (not isinstance(request_id, str) or len(request_id) > MOST_ID):
        raise _bad(f"id: a text of at most {MOST_ID} characters")
    parameters = _parameters(values)
    fields = _fields(parameters, query)
    wait_s = _timeout_s(parameters.get("timeout"))
    binary = _flag(parameters, "binary_data_output", False)
    return InferRequest(request_id, _images(values.get("inputs"), tail), fields, wait_s, _outputs(values, binary))


def _bad(detail: str) -> Problem:
    return Problem("bad-request", detail)


def _parameters(values: dict[str, Any]) -> dict[str, Any]:
    parameters = values.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise _bad("parameters: a JSON object")
    return parameters


def _fields(parameters: dict[str, Any], query: ImageFields) -> ImageFields:
    known = {*FIELDS, "timeout", "binary_data_output", *IGNORED}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise _bad(f"the parameter {unknown[0][:40]!r} is unknown; fields are {', '.join(FIELDS)}, and timeout in us")
    pairs = []
    for name in FIELDS:
        value = parameters.get(name)
        if value is None:
            continue
        if name == "deadline_ms" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise _bad(f"the parameter {name} is a text")
        pairs.append((name, value))
    return with_fields(query, pairs)


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    found = parameters.get(name)
    if found is None:
        return default
    if not isinstance(found, bool):
        raise _bad(f"the parameter {name} is true or false")
    return found


def _timeout_s(timeout: object) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 1:
        raise _bad("the parameter timeout is a whole number of microseconds, 1 or more")
    return timeout / 1e6 if timeout < 10**12 else 1e6


def _images(inputs: object, tail: bytes) -> tuple[bytes, ...]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _bad(f"inputs: one tensor, {INPUT!r}")
    tensor = inputs[0]
    if tensor.get("name") != INPUT or tensor.get("datatype") != "BYTES":
        raise _bad(f"the input is {INPUT!r} of datatype BYTES: the encoded file of each image, as it is")
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= MOST_DIMENSIONS
        or not all(type(size) is int and size > 0 for size in shape)
    ):
        raise _bad("shape: a list of numbers, [n] for n images")
    parameters = _parameters(tensor)
    size = parameters.get("binary_data_size")
    if size is None:
        images = [_base64(text) for text in _texts(tensor.get("data"), shape)]
        if tail:
            raise _bad("bytes follow the JSON object, but the tensor has no binary_data_size")
    elif type(size) is not int or size != len(tail):
        raise _bad(f"binary_data_size is {size!r:.40}, but {len(tail)} bytes follow the JSON object")
    elif "data" in tensor:
        raise _bad("the tensor has both data and binary_data_size")
    else:
        images = _elements(tail)
    if not 1 <= len(images) <= MOST_IMAGES:
        raise _bad(f"the request has {len(images)} images; 1 to {MOST_IMAGES}")
    if math.prod(shape) != len(images):
        raise _bad(f"the shape {shape!s:.80} does not fit {len(images)} images")
    return tuple(images)


def _texts(data: object, shape: Sequence[int]) -> list[str]:
    """Return the texts of a tensor: one list of them, or lists that are nested exactly as its shape says."""
    if isinstance(data, list) and data and all(isinstance(item, str) for item in data):
        return data
    return _nested(data, shape)


def _nested(data: object, shape: Sequence[int]) -> list[str]:
    size, *inner = shape
    if isinstance(data, list) and len(data) == size:
        if inner:
            return [text for item in data for text in _nested(item, inner)]
        if all(isinstance(item, str) for item in data):
            return data
    raise _bad(
        "data: one list of texts in base64, or lists nested as the shape says; or send the images as binary data"
    )


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _bad("an image in data is not base64; or send the images as binary data") from None


def _elements(data: bytes) -> list[bytes]:
    found, start = [], 0
    while start < len(data):
        begin = start + _LENGTH.size
        if begin > len(data) or begin + (length := _LENGTH.unpack_from(data, start)[0]) > len(data):
            raise _bad("the binary data ends within an element; each is a length of 4 bytes, and the bytes")
        found.append(data[begin : begin + length])
        if len(found) > MOST_IMAGES:
            raise _bad(f"more than {MOST_IMAGES} images")
        start = begin + length
    return found


def _outputs(values: dict[str, Any], binary: bool) -> tuple[tuple[str, bool], ...]:
    asked = values.get("outputs")
    if asked is None or asked == []:  # all
        return tuple((name, binary) for name in OUTPUTS)
    if not isinstance(asked, list) or not all(isinstance(output, dict) for output in asked):
        raise _bad("outputs: a list of JSON objects with a name")
    found = {}
    for output in asked:
        name, parameters = output.get("name"), _parameters(output)
        if not isinstance(name, str) or name not in OUTPUTS:
            raise _bad(f"the output {name!r:.40} is unknown; the outputs are {', '.join(OUTPUTS)}")
        if "classification" in parameters:
            raise _bad("the parameter classification is not supported")
        if name in found:
            raise _bad(f"the output {name} is asked for twice")
        found[name] = _flag(parameters, "binary_data", binary)
    return tuple(found.items())


def write_infer_response(request: InferRequest, decisions: Sequence[Decision]) -> tuple[bytes, int | None]:
    """Return the body of the response, and the length of its JSON object if binary tensors follow it."""
    outputs: list[dict[str, Any]] = []
    tensors = []
    for name, is_binary in request.outputs:
        values = output_values(name, decisions)
        output: dict[str, Any] = {"name": name, "datatype": _datatype(name), "shape": [len(values)]}
        if is_binary:
            tensors.append(_tensor(values, is_text=OUTPUTS[name]))
            output["parameters"] = {"binary_data_size": len(tensors[-1])}
        else:
            output["data"] = values
        outputs.append(output)
    response: dict[str, Any] = {"model_name": MODEL, "model_version": VERSION, "outputs": outputs}
    if request.id is not None:
        response["id"] = request.id
    head = json.dumps(response, allow_nan=False).encode()
    return b"".join([head, *tensors]), len(head) if tensors else None


def _tensor(values: Sequence[Any], *, is_text: bool) -> bytes:
    if not is_text:
        return struct.pack(f"<{len(values)}d", *(math.nan if value is None else value for value in values))
    texts = [str(value).encode() for value in values]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
