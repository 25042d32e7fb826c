"""The interface against its description, with schemathesis, which has an environment of its own.

``INSPECTION_SCHEMATHESIS`` names its program ``st``: ``pip install schemathesis==4.32.5`` elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.clients import SCOPES, token_hash
from schemas import KafkaSettings
from tests.support.answering import answering_worker
from tests.support.gateways import make_image, running_gateway

PROGRAM = os.environ.get("INSPECTION_SCHEMATHESIS")

#: Schemathesis generates texts for an image; these are real ones.
HOOKS = """
import base64, json, pathlib, struct, uuid
import schemathesis
from hypothesis import strategies

images = [path.read_bytes() for path in sorted(pathlib.Path(__file__).parent.glob("*.png"))]
for kind in {kinds}:
    schemathesis.openapi.media_type(kind, strategies.sampled_from(images))
lines = [json.dumps(dict(image=base64.b64encode(image).decode())) for image in images]
schemathesis.serializer("application/x-ndjson")(lambda context, value: str(value).encode())
texts = [base64.b64encode(image).decode() for image in images]
schemathesis.openapi.format("byte", strategies.sampled_from(texts))


def flat(data):
    return [text for item in data for text in (flat(item) if isinstance(item, list) else [item])]


@schemathesis.hook
def map_case(context, case):
    # What a schema cannot say: a key for each image; objects in the lines of a text; a label whose camera is that of
    # its frame; in an infer request lengths that fit, outputs once each, and JSON within a text.
    meta = case.meta
    if meta is None or meta.generation.mode.value != "positive":
        return case
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if case.media_type == "application/x-ndjson" and not str(case.body).startswith('{"image"'):
        case.body = lines[0]
    if case.path == "/v1/labels" and isinstance(case.body, dict) and case.body.get("frame_id", "").count(".") > 2:
        for name in ("station", "camera_id"):
            case.body.pop(name, None)
    if not case.path.endswith("/infer"):
        return case
    (case.headers or dict()).pop("Inference-Header-Content-Length", None)
    if case.media_type == "application/octet-stream":
        image = images[0]
        tensor = dict(name="image", datatype="BYTES", shape=[1], parameters=dict(binary_data_size=4 + len(image)))
        head = json.dumps(dict(inputs=[tensor])).encode()
        case.body = head + struct.pack("<I", len(image)) + image
        case.headers["Inference-Header-Content-Length"] = str(len(head))
    elif isinstance(case.body, dict):
        tensor = case.body["inputs"][0]
        tensor["data"] = flat(tensor["data"])[:64]
        tensor["shape"] = [len(tensor["data"])]
        parameters = case.body.get("parameters") or dict()
        if parameters.get("attributes") is not None:
            parameters["attributes"] = json.dumps(dict(shift="2"))
        if case.body.get("outputs"):
            case.body["outputs"] = list(dict((output["name"], output) for output in case.body["outputs"]).values())
    return case
"""
KINDS = ("image/jpeg", "image/png", "image/tiff", "image/bmp", "image/x-ms-bmp", "application/octet-stream")

#: 502, 503 and 504 say something about the line, not about the gateway. A long poll takes its time.
CONFIGURATION = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504]
max_response_time = 100
# The usual ones, and 413: a body may be too large for its place.
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]

# HTTP allows headers that a server does not know.
[generation]
allow-extra-parameters = false
"""


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.skipif(PROGRAM is None, reason="INSPECTION_SCHEMATHESIS does not name the program st")
@pytest.mark.parametrize("token", ["", "token-of-the-suite"], ids=["open", "with tokens"])
def test_the_interface_is_as_described(line: KafkaSettings, tmp_path: Path, token: str) -> None:
    (tmp_path / "gateway_hooks.py").write_text(HOOKS.replace("{kinds}", repr(KINDS)))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(make_image(number))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "gateway_hooks", "PYTHONPATH": str(tmp_path)}
    settings: dict[str, Any] = {"longest_wait_s": 60.0}
    header = []
    if token:
        settings["tokens"] = tmp_path / "tokens.yaml"
        entry = {"token_sha256": token_hash(token), "scopes": list(SCOPES)}
        settings["tokens"].write_text(json.dumps({"clients": {"press-7": entry}}))
        header = ["--header", f"Authorization: Bearer {token}"]
    with answering_worker(line), running_gateway(line, **settings) as gateway:
        command = [str(PROGRAM), "run", f"{gateway.url}/openapi.json", *header, "--checks", "all", "-n", "40"]
        done = subprocess.run(
            [*command, "--seed", "1", "--request-timeout", "90"], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=False, timeout=1800,
        )  # fmt: skip
        lines = (line[:400] for line in done.stdout.splitlines() if line.strip() and "curl " not in line)
        assert done.returncode == 0, "\n".join(lines) + done.stderr[-2000:]
        assert gateway.ask("GET", "/health").status == 200
