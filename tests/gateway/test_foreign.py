"""Clients of other servers: Open Inference Protocol and TensorFlow Serving's REST, as bytes and by their clients.

``INSPECTION_TRITONCLIENT`` names the Python of an environment with ``pip install 'tritonclient[http]==2.73.0'``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.clients import token_hash
from schemas import Action, Frame, KafkaSettings, ResultState, Verdict
from tests.support.answering import answering_worker
from tests.support.gateways import RunningGateway, Served, make_image, running_gateway
from tests.support.infer_requests import OUTPUTS, binary_body, infer, json_body, tensors, text_of

PYTHON = os.environ.get("INSPECTION_TRITONCLIENT")
SHED = {"verdict": Verdict.NOT_DECIDABLE, "action": Action.REJECT, "result_state": ResultState.ABORTED}
DEADLINE_OF_SHED_MS = 77_777


def answer_of(frame: Frame) -> dict[str, Any]:
    """Shed the frames of one deadline, and accept all others."""
    return {**SHED, "reason": "shed"} if frame.deadline_ms == DEADLINE_OF_SHED_MS else {"score": 0.25}


@pytest.fixture
def asked(line: KafkaSettings) -> Iterator[tuple[RunningGateway, list[Frame]]]:
    with answering_worker(line, answer_of) as frames, running_gateway(line) as gateway:
        yield gateway, frames


def test_open_inference_with_json_and_with_binary_tensors(
    asked: tuple[RunningGateway, list[Frame]], image: bytes, other_image: bytes
) -> None:
    gateway, frames = asked
    plain = infer(gateway, json_body(image, id="42", parameters={"part_id": "P-1", "deadline_ms": 50_000}))
    assert (plain.status, plain.headers["content-type"]) == (200, "application/json"), plain.data
    assert {name: plain.json[name] for name in ("id", "model_name", "model_version")} == {
        "id": "42", "model_name": "inspection", "model_version": "1",
    }  # fmt: skip
    found = tensors(plain)
    assert list(found) == OUTPUTS
    assert (found["action"], found["verdict"], found["score"]) == (["ACCEPT"], ["OK"], [0.25])
    decision = json.loads(found["decision"][0])
    assert (decision["part_id"], decision["frame_id"]) == ("P-1", found["frame_id"][0])
    assert plain.headers["location"] == f"/v1/inspections/{decision['frame_id']}"
    body, length = binary_body(image, other_image, parameters={"binary_data_output": True, "timeout": 30_000_000})
    binary = infer(gateway, body, length, "?lot=L7", Prefer="respond-async")
    assert (binary.status, binary.headers["content-type"]) == (200, "application/octet-stream"), binary.data
    assert (tensors(binary)["action"], tensors(binary)["score"]) == (["ACCEPT"] * 2, [0.25] * 2)
    body, length = binary_body(
        image, outputs=[{"name": "score"}, {"name": "action", "parameters": {"binary_data": True}}]
    )
    assert tensors(infer(gateway, body, length)) == {"score": [0.25], "action": ["ACCEPT"]}
    assert [(frame.part_id, frame.lot, frame.deadline_ms) for frame in frames] == [
        ("P-1", None, 50_000), (None, "L7", 30_000), (None, "L7", 30_000), (None, None, 60_000),
    ]  # fmt: skip
    assert {frame.image for frame in frames} == {image, other_image}


def test_tensorflow_serving_with_rows_and_with_columns(
    asked: tuple[RunningGateway, list[Frame]], image: bytes, other_image: bytes
) -> None:
    gateway, frames = asked
    model = f"{gateway.url}/v1/models/inspection"
    status = requests.get(model, timeout=60).json()["model_version_status"]
    assert status == [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
    metadata = requests.get(f"{model}/versions/1/metadata", timeout=60).json()
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert metadata["model_spec"]["name"] == "inspection"
    assert signature["inputs"]["image"]["dtype"] == "DT_STRING"
    assert list(signature["outputs"]) == OUTPUTS
    images = [{"b64": text_of(image)}, {"b64": text_of(other_image)}]
    rows = {"signature_name": "serving_default", "instances": images}
    # As in its documentation: the JSON text as data, without a content type.
    found = requests.post(f"{model}:predict?lot=L7", data=json.dumps(rows), timeout=60)
    assert found.status_code == 200, found.text
    assert [(row["action"], row["score"]) for row in found.json()["predictions"]] == [("ACCEPT", 0.25)] * 2
    assert list(found.json()["predictions"][0]) == OUTPUTS
    for inputs in (images, {"image": images}):
        found = requests.post(f"{model}/versions/1:predict", json={"inputs": inputs}, timeout=60)
        assert found.status_code == 200, found.text
        assert found.json()["outputs"]["verdict"] == ["OK", "OK"]
    found = requests.post(f"{model}:predict", json={"instances": [{"image": images[0]}]}, timeout=60)
    assert [row["verdict"] for row in found.json()["predictions"]] == ["OK"]
    assert [frame.image for frame in frames[-1:]] == [image]
    assert {frame.lot for frame in frames[:2]} == {"L7"}


def test_these_doors_have_the_keys_and_the_deadlines_of_all_others(
    asked: tuple[RunningGateway, list[Frame]], image: bytes, other_image: bytes
) -> None:
    gateway, frames = asked
    first = gateway.inspect(image, Idempotency_Key="part-7")
    again = infer(gateway, json_body(image), Idempotency_Key="part-7")
    assert tensors(again)["frame_id"] == [first.json["frame_id"]]
    assert again.headers["idempotency-replayed"] == "true"
    reused = infer(gateway, json_body(other_image), Idempotency_Key="part-7")
    assert (reused.status, reused.json) == (
        422, {"error": "The key belongs to another image: this key was used with another image"},
    )  # fmt: skip
    two = {"instances": [{"b64": text_of(image)}, {"b64": text_of(other_image)}]}
    for _ in range(2):
        answer = gateway.ask("POST", "/v1/models/inspection:predict", json.dumps(two), Idempotency_Key="pair")
        assert answer.status == 200, answer.data
    assert len(frames) == 3
    shed = gateway.ask(
        "POST", f"/v1/models/inspection:predict?deadline_ms={DEADLINE_OF_SHED_MS}", json.dumps(two), Prefer="wait=60"
    )
    assert (shed.status, shed.json) == (504, {"error": "No decision in time: image 0: shed"})


def test_errors_have_the_form_of_these_protocols(asked: tuple[RunningGateway, list[Frame]], image: bytes) -> None:
    gateway, frames = asked
    body, length = binary_body(image)
    cases = [
        (404, gateway.ask("GET", "/v2/models/resnet")),
        (404, gateway.ask("POST", "/v1/models/inspection:classify", b"{}")),
        (405, gateway.ask("GET", "/v2/models/inspection/infer")),
        (400, infer(gateway, b"scrap")),
        (400, infer(gateway, body)),
        (400, infer(gateway, body, str(len(body) + 1))),
        (400, infer(gateway, body[:-1], length)),
        (400, infer(gateway, json_body(image, parameters={"part": "P"}))),
        (400, infer(gateway, json_body(image, outputs=[{"name": "boxes"}]))),
        (400, infer(gateway, json_body(image, outputs=[{"name": ["score"]}]))),
        (400, infer(gateway, json_body(image, outputs={}))),
        (400, infer(gateway, json_body(image, outputs=[{"name": "score", "parameters": {"binary_data": "no"}}]))),
        (400, infer(gateway, json_body(image, parameters={"binary_data_output": 1}))),
        (400, infer(gateway, json_body(image).replace(b'"data": [', b'"data": [[], '))),
        (400, infer(gateway, json_body())),
        (400, infer(gateway, json_body(image).replace(b"BYTES", b"FP32"))),
        (415, infer(gateway, json_body(b"no image"))),
        (415, infer(gateway, json_body(image), Content_Encoding="gzip")),
        (400, gateway.ask("POST", "/v1/models/inspection:predict", b'{"instances": [[1, 2]]}')),
        (400, gateway.ask("POST", "/v1/models/inspection:predict", b'{"instances": [], "inputs": []}')),
        (400, gateway.ask("POST", "/v1/models/inspection:predict", b'{"inputs": {"b64": "/9j/"}}')),
        (403, gateway.ask("GET", "/v2", Host="elsewhere.example")),
    ]
    for status, answer in cases:
        assert (answer.status, list(answer.json)) == (status, ["error"]), answer.data
    assert cases[2][1].headers["allow"] == "POST"
    assert not frames


def test_a_token_is_needed_to_infer_and_not_for_metadata(line: KafkaSettings, tmp_path: Path, image: bytes) -> None:
    tokens = tmp_path / "tokens.yaml"
    entry = {"token_sha256": token_hash("secret"), "key_required": True}
    tokens.write_text(json.dumps({"clients": {"press-7": entry}}))
    with answering_worker(line) as frames, running_gateway(line, tokens=tokens) as gateway:
        assert gateway.ask("GET", "/v2/models/inspection").status == 200
        refused = infer(gateway, json_body(image))
        assert (refused.status, list(refused.json)) == (401, ["error"])
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert infer(gateway, json_body(image), Authorization="Bearer secret").status == 400
        taken = infer(gateway, json_body(image), Authorization="Bearer secret", Idempotency_Key="a")
        assert taken.status == 200, taken.data
        assert [frame.camera_id for frame in frames] == ["press-7--test--0"]


CLIENT = """
import json, sys
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

url, *files = sys.argv[1:]
images = [open(file, "rb").read() for file in files]
client = triton.InferenceServerClient(url)
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("inspection") and client.is_model_ready("inspection", "1")
assert not client.is_model_ready("resnet")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
model = client.get_model_metadata("inspection")
names = [output["name"] for output in model["outputs"]]
assert [tensor["datatype"] for tensor in model["inputs"]] == ["BYTES"]

tensor = triton.InferInput("image", [len(images)], "BYTES")
tensor.set_data_from_numpy(np.array(images, dtype=object))
found = client.infer("inspection", [tensor], request_id="7", timeout=60_000_000, query_params={"lot": "L7"})
assert found.get_response()["id"] == "7"
for name in names:
    assert found.as_numpy(name).shape == (len(images),), name
assert found.as_numpy("score").dtype == np.float64
decisions = [json.loads(text) for text in found.as_numpy("decision")]
assert [decision["action"].encode() for decision in decisions] == list(found.as_numpy("action"))
assert np.allclose([decision["score"] for decision in decisions], found.as_numpy("score"))

outputs = [triton.InferRequestedOutput("verdict", binary_data=False), triton.InferRequestedOutput("frame_id")]
headers = {"Idempotency-Key": "part-9"}
one = triton.InferInput("image", [1, 1], "BYTES")
one.set_data_from_numpy(np.array([images[:1]], dtype=object))
keyed = [client.infer("inspection", [one], "1", outputs, headers=dict(headers)) for _ in range(2)]
assert len({result.as_numpy("frame_id")[0] for result in keyed}) == 1
assert keyed[0].get_output("verdict")["data"][0] in ("OK", "NOT_OK", "NOT_DECIDABLE")
assert client.async_infer("inspection", [one]).get_result().as_numpy("action") is not None

bad = triton.InferInput("image", [1], "BYTES")
bad.set_data_from_numpy(np.array([b"no image"], dtype=object))
try:
    client.infer("inspection", [bad])
except InferenceServerException as error:
    assert error.status() == "415", error
    assert "are not those of JPEG, PNG" in error.message(), error
else:
    raise AssertionError("no error")
print(json.dumps([decision["frame_id"] for decision in decisions]))
"""


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.skipif(PYTHON is None, reason="INSPECTION_TRITONCLIENT does not name a Python with tritonclient")
def test_the_client_of_triton(served: Served, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        file.write_bytes(make_image(number))
    done = subprocess.run(
        [str(PYTHON), "-c", CLIENT, served.gateway.url.removeprefix("http://"), *map(str, files)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(set(json.loads(done.stdout))) == 3
