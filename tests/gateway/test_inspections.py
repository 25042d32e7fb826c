"""Requests with one image, with a real worker behind the gateway."""

from __future__ import annotations

import hashlib

from infra.demo.processes import WorkerProcess
from schemas import KafkaSettings
from tests.support.gateways import form, running_gateway


def test_an_image_gets_its_decision(line: KafkaSettings, worker: WorkerProcess, image: bytes) -> None:
    with running_gateway(line) as gateway:
        answer = gateway.inspect(image, "?part_id=P-77&lot=L7&attributes=%7B%22shift%22%3A%222%22%7D")
    assert answer.status == 200, answer.data
    decision = answer.json
    assert decision["verdict"] in ("OK", "NOT_OK", "NOT_DECIDABLE")
    assert decision["action"] in ("ACCEPT", "REJECT", "REVIEW")
    assert decision["image_sha256"] == hashlib.sha256(image).hexdigest()
    assert (decision["part_id"], decision["lot"], decision["attributes"]) == ("P-77", "L7", {"shift": "2"})
    assert (decision["station"], decision["camera_id"]) == ("http", "local--test--0")
    assert decision["deadline_at_us"] - decision["captured_at_us"] == 60_000_000
    assert answer.headers["location"] == f"/v1/inspections/{decision['frame_id']}"
    (report,) = gateway.reports
    row = report.as_dict()["cameras"][0]
    assert (row["name"], row["captured"], row["published"], row["failed"]) == ("http/local--test--0", 1, 1, 0)
