"""Requests that a real worker answers."""

from __future__ import annotations

import base64
import hashlib
import json

import cv2
import numpy as np
import pytest

from operations.audit.topics import audit_topics
from replay.past.source import Source
from schemas import Codec, Label
from tests.support.gateways import Served, form
from tests.support.topics import read_all


def test_an_image_gets_its_decision(served: Served, image: bytes) -> None:
    answer = served.gateway.inspect(image, "?part_id=P-77&lot=L7&attributes=%7B%22shift%22%3A%222%22%7D")
    assert answer.status == 200, answer.data
    decision = answer.json
    assert decision["verdict"] in ("OK", "NOT_OK", "NOT_DECIDABLE")
    assert decision["action"] in ("ACCEPT", "REJECT", "REVIEW")
    assert decision["image_sha256"] == hashlib.sha256(image).hexdigest()
    assert (decision["part_id"], decision["lot"], decision["attributes"]) == ("P-77", "L7", {"shift": "2"})
    assert (decision["station"], decision["camera_id"]) == ("http", "local--test--0")
    assert decision["deadline_at_us"] - decision["captured_at_us"] == 60_000_000
    assert answer.headers["location"] == f"/v1/inspections/{decision['frame_id']}"
    assert answer.headers["preference-applied"] == "wait=60"


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".tiff"])
def test_other_formats_are_inspected(served: Served, suffix: str) -> None:
    pixels = np.random.default_rng(5).integers(0, 255, (60, 80)).astype(np.uint8)
    answer = served.gateway.inspect(cv2.imencode(suffix, pixels)[1].tobytes(), Content_Type="application/octet-stream")
    assert (answer.status, answer.json["result_state"]) == (200, "COMPLETED")


def test_a_form_has_image_and_fields(served: Served, image: bytes) -> None:
    body, kind = form(
        ("file", image), ("part_id", "Prüfling 1".encode()), ("station", b"press"), ("attributes", b'{"a": "b"}'),
        ("deadline_ms", b"50000"),
    )  # fmt: skip
    answer = served.gateway.ask("POST", "/v1/inspections", body, Content_Type=kind, Prefer="wait=60")
    assert answer.status == 200, answer.data
    decision = answer.json
    assert (decision["part_id"], decision["station"], decision["attributes"]) == ("Prüfling 1", "press", {"a": "b"})
    assert decision["deadline_at_us"] - decision["captured_at_us"] == 50_000_000


def test_an_answer_can_be_fetched_later(served: Served, image: bytes) -> None:
    # 200 if the worker was faster than the confirmation of the frame; test_answers has the 202 alone.
    accepted = served.gateway.inspect(image, Prefer="respond-async")
    assert accepted.status in (200, 202), accepted.data
    path = accepted.headers["location"]
    fetched = served.gateway.ask("GET", f"{path}?wait=60")
    assert fetched.status == 200
    assert fetched.json["frame_id"] == accepted.json["frame_id"]
    assert fetched.json["deadline_at_us"] is None
    assert served.gateway.ask("GET", path).json == fetched.json


def test_what_cannot_be_read_is_a_problem_with_its_decision(served: Served, image: bytes) -> None:
    answer = served.gateway.inspect(image[:-40])
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert problem["type"] == "urn:streaming-inspection:problem:image-unreadable"
    assert problem["decision"]["result_state"] == "FAILED"
    assert problem["decision"]["action"] == "REJECT"
    assert problem["instance"] == problem["decision"]["frame_id"]
    later = served.gateway.ask("GET", answer.headers["location"])
    assert (later.status, later.json) == (422, problem)


def test_a_key_has_one_frame_and_one_answer(served: Served, image: bytes, other_image: bytes) -> None:
    first = served.gateway.inspect(image, Idempotency_Key='"shift 2/part 77"')
    assert first.status == 200
    again = served.gateway.inspect(image, Idempotency_Key="shift 2/part 77")
    assert (again.status, again.json) == (200, first.json)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    other = served.gateway.inspect(other_image, Idempotency_Key="shift 2/part 77")
    assert (other.status, other.json["type"].rpartition(":")[2]) == (422, "key-reused")


def test_a_batch_has_an_entry_for_each_image(served: Served, image: bytes, other_image: bytes) -> None:
    lines = [
        {"image": base64.b64encode(image).decode(), "part_id": "B-1", "idempotency_key": "b1"},
        {"image": base64.b64encode(b"no image").decode()},
        {"image": base64.b64encode(other_image[:-40]).decode(), "attributes": {"place": "3"}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    named = {"Content-Type": "application/x-ndjson", "Prefer": "wait=60"}
    answer = served.gateway.ask("POST", "/v1/inspections:batch", body, **named)
    assert answer.status == 200
    entries = answer.json["inspections"]
    assert [entry["status"] for entry in entries] == [200, 415, 422]
    assert entries[0]["decision"]["part_id"] == "B-1"
    assert entries[2]["problem"]["decision"]["attributes"] == {"place": "3"}
    body, kind = form(("file", image), ("file", other_image), ("lot", b"L9"))
    answer = served.gateway.ask("POST", "/v1/inspections:batch", body, Content_Type=kind, Prefer="wait=60")
    found = [entry["decision"] for entry in answer.json["inspections"]]
    assert [decision["image_sha256"] for decision in found] == [
        hashlib.sha256(each).hexdigest() for each in (image, other_image)
    ]
    assert {decision["lot"] for decision in found} == {"L9"}


@pytest.mark.parametrize("kind", ["form", "lines"])
def test_a_batch_has_fields_in_its_query_and_a_key_in_its_head(served: Served, image: bytes, kind: str) -> None:
    body, content_type = form(("file", image), ("file", image), ("part_id", b"own"))
    parts = ["own", "own"]
    if kind == "lines":
        encoded = base64.b64encode(image).decode()
        lines = [{"image": encoded}, {"image": encoded, "part_id": "own", "attributes": {"place": "4"}}]
        body, content_type = "\n".join(map(json.dumps, lines)).encode(), "application/x-ndjson"
        parts = ["Q", "own"]
    path = "/v1/inspections:batch?part_id=Q&station=press&attributes=%7B%22place%22%3A%223%22%7D"
    headers = {"Content_Type": content_type, "Prefer": "wait=60", "Idempotency_Key": f"batch of {kind}"}
    first, again = (served.gateway.ask("POST", path, body, **headers).json["inspections"] for _ in range(2))
    decisions = [entry["decision"] for entry in first]
    assert [decision["part_id"] for decision in decisions] == parts
    assert {decision["station"] for decision in decisions} == {"press"}
    assert [decision["attributes"]["place"] for decision in decisions] == ["3", "4" if kind == "lines" else "3"]
    assert len({entry["frame_id"] for entry in first}) == 2
    assert again == first
    for query in ("partid=Q", "station="):
        assert served.gateway.ask("POST", f"/v1/inspections:batch?{query}", body, **headers).status == 400


def test_decisions_and_labels_of_a_part(served: Served, image: bytes) -> None:
    frame_id = served.gateway.inspect(image, "?part_id=P-78").json["frame_id"]
    found = served.gateway.ask("GET", "/v1/decisions?part_id=P-78")
    assert [decision["frame_id"] for decision in found.json["decisions"]] == [frame_id]
    assert served.gateway.ask("GET", "/v1/decisions?part_id=P-79").json == {"decisions": []}
    label = json.dumps({"part_id": "P-78", "truth": "defective", "defect": "crack", "labelled_by": "tester-3"})
    answer = served.gateway.ask("POST", "/v1/labels", label, Content_Type="application/json")
    assert answer.status == 201, answer.data
    (value,) = read_all(served.kafka, served.kafka.labels, 1)
    published = Codec().decode(value, Label)
    assert (published.part_id, published.truth.value, published.defect) == ("P-78", "NOT_OK", "crack")
    assert (published.station, published.camera_id) == ("http", "local--test--0")
    assert published.label_id == answer.json["label_id"]
    unknown = json.dumps({"part_id": "P-80", "truth": "good"})
    refused = served.gateway.ask("POST", "/v1/labels", unknown, Content_Type="application/json")
    assert (refused.status, refused.json["type"].rpartition(":")[2]) == (404, "unknown-inspection")


def test_a_part_id_of_a_barcode_reader_is_the_same_everywhere(served: Served, image: bytes) -> None:
    frame_id = served.gateway.inspect(image, "?part_id=TR-2%20%0D%0A").json["frame_id"]
    for asked in ("TR-2", "TR-2%20", "%02TR-2%0D"):
        found = served.gateway.ask("GET", f"/v1/decisions?part_id={asked}").json["decisions"]
        assert [(decision["frame_id"], decision["part_id"]) for decision in found] == [(frame_id, "TR-2")]
    label = json.dumps({"part_id": "TR-2 \r", "truth": "good"})
    answer = served.gateway.ask("POST", "/v1/labels", label, Content_Type="application/json")
    assert (answer.status, answer.json["part_id"], answer.json["camera_id"]) == (201, "TR-2", "local--test--0")
    nobody = json.dumps({"part_id": " \r", "truth": "good", "station": "http", "camera_id": "top"})
    refused = served.gateway.ask("POST", "/v1/labels", nobody, Content_Type="application/json")
    assert (refused.status, refused.json["type"].rpartition(":")[2]) == (400, "bad-request")
    assert served.gateway.ask("GET", "/v1/decisions?part_id=%20").status == 400


def test_the_audit_of_the_line_balances(served: Served, image: bytes) -> None:
    """The frames of the gateway are ordinary frames; this runs last in this module, or alone."""
    served.gateway.inspect(image)
    audit = audit_topics(Source(served.kafka))
    counts = audit.cameras()
    assert set(counts) >= {"http/local--test--0"}
    for each in counts.values():
        assert each.unaccounted == each.conflicts == each.unexplained_gaps == each.repeated_frames == 0
