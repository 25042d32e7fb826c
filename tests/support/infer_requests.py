"""Requests of Open Inference Protocol and TensorFlow Serving, as bytes."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from tests.support.gateways import Answer, RunningGateway

LENGTH_HEADER = "Inference-Header-Content-Length"
OUTPUTS = ["action", "verdict", "score", "frame_id", "decision"]


def text_of(image: bytes) -> str:
    return base64.b64encode(image).decode()


def json_body(*images: bytes, **others: Any) -> bytes:
    """Return an infer request with images in base64."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": [text_of(each) for each in images]}
    return json.dumps({"inputs": [tensor], **others}).encode()


def binary_body(*images: bytes, **others: Any) -> tuple[bytes, str]:
    """Return an infer request with a binary tensor, and the length of its JSON object."""
    tail = b"".join(struct.pack("<I", len(image)) + image for image in images)
    size = {"binary_data_size": len(tail)}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images), 1], "parameters": size}
    head = json.dumps({"inputs": [tensor], **others}).encode()
    return head + tail, str(len(head))


def infer(gateway: RunningGateway, body: bytes, length: str | None = None, query: str = "", **headers: str) -> Answer:
    named = {"Prefer": "wait=60", **({} if length is None else {LENGTH_HEADER: length}), **headers}
    return gateway.ask("POST", f"/v2/models/inspection/infer{query}", body, **named)


def tensors(answer: Answer) -> dict[str, list[Any]]:
    """Return the outputs of an answer, binary or not."""
    length = answer.headers.get(LENGTH_HEADER.lower())
    head = answer.data if length is None else answer.data[: int(length)]
    place, found = len(head), {}
    for output in json.loads(head)["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[output["name"]] = output["data"]
            continue
        data, place = answer.data[place : place + size], place + size
        if output["datatype"] == "FP64":
            found[output["name"]] = list(struct.unpack(f"<{size // 8}d", data))
            continue
        texts = []
        while data:
            [length_bytes] = struct.unpack_from("<I", data)
            texts.append(data[4 : 4 + length_bytes].decode())
            data = data[4 + length_bytes :]
        found[output["name"]] = texts
    assert place == len(answer.data)
    return found
