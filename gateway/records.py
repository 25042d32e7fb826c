"""Decisions and labels: ``GET /v1/decisions`` and ``POST /v1/labels``."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.bodies import Body
from gateway.clients import LONGEST_CLIENT
from gateway.json_body import read_json
from gateway.line import GatewayLine
from gateway.outcome import decision_values
from gateway.problems import Problem
from gateway.query import query_items
from operations.labels.make import MAX_NAME, LabelError, camera_of, make_label
from operations.labels.publish import publish_labels
from schemas.avro_values import as_values
from schemas.errors import CodecError, InspectionError
from schemas.json_text import plain
from schemas.part_ids import real_part_id
from schemas.records import Decision, Label

#: Most decisions of one answer.
MOST_DECISIONS = 100
_LABEL_BYTES = 64 * 1024
_LABEL_S = 10.0
_MOST_LABELS = 16
#: Labels that are published at the same time, and the longest wait of another one, in seconds.
_AT_ONCE, _PLACE_S = 4, 4.0
#: Longest wait for Kafka's list of topics, and for its answer to a label, in seconds.
_PUBLISH_S = 4.0
_TEXTS = (
    "truth", "frame_id", "part_id", "station", "camera_id", "defect", "sampled_because", "note", "labelled_by",
)  # fmt: skip
_MAY_BE_EMPTY = ("defect", "note")
#: Longest `labelled_by` of a request: the label has the name of the client and a slash before it.
LONGEST_PERSON = MAX_NAME - LONGEST_CLIENT - 1


class RecordRequests:
    """Requests about parts: decisions that were made, and the truth that is known later."""

    def __init__(self, line: GatewayLine) -> None:
        self._line = line
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._at_hand = 0

    async def get_decisions(self, request: Request) -> Response:
        """Answer ``GET /v1/decisions``: the decisions of the last minutes on a part, of all cameras."""
        self._line.clients.of(request.headers.get("authorization")).require("read")
        query = query_items(request)
        part_id = real_part_id(query[0][1]) if [name for name, _ in query] == ["part_id"] else None
        if part_id is None:
            raise Problem("bad-request", "say which part: /v1/decisions?part_id=P-77, and nothing else")
        self._line.require_line()
        found = self._line.reader.index.of_part(part_id, MOST_DECISIONS)
        return JSONResponse({"decisions": [decision_values(decision) for decision in found]})

    async def post_label(self, request: Request) -> Response:
        """Answer ``POST /v1/labels``: publish the truth about a frame or a part."""
        client = self._line.clients.of(request.headers.get("authorization"))
        client.require("label")
        self._line.require_line()
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem("not-an-image", "Content-Type: say application/json")
        with Body(self._line.memory, client.name) as body:
            values = _json_object(await body.read(request, _LABEL_BYTES, _LABEL_S))
        label = self._label(values, None if self._line.clients.are_open else client.name)
        if self._at_hand >= _MOST_LABELS:
            raise Problem("overloaded", f"{self._at_hand} labels are at hand", retry_after_s=1)
        self._at_hand += 1
        try:
            await self._publish(label)
        finally:
            self._at_hand -= 1
        return JSONResponse(plain(as_values(label)), 201)

    async def _publish(self, label: Label) -> None:
        """Publish a label as soon as one of the places is free. Both waits have a bound."""
        try:
            await asyncio.wait_for(self._places.acquire(), _PLACE_S)
        except TimeoutError:
            raise Problem("overloaded", "other labels take too long", retry_after_s=1) from None
        try:
            self._line.require_line()  # Kafka may have gone meanwhile
            await asyncio.to_thread(publish_labels, self._line.labels_kafka, [label], _PUBLISH_S)
        except CodecError as error:
            raise Problem("invalid-label", str(error)) from error
        except InspectionError as error:
            raise Problem("broker-away", str(error), retry_after_s=1) from error
        finally:
            self._places.release()

    def _label(self, values: dict[str, Any], client: str | None) -> Label:
        """Return the label of a request. With tokens, the client is a part of ``labelled_by``."""
        texts = {name: values[name] for name in _TEXTS if name in values}
        at_us = values.get("labelled_at_us", self._line.clock.utc_us())
        if (
            not set(values) <= {*_TEXTS, "labelled_at_us"}
            or not all(isinstance(text, str) and (text or name in _MAY_BE_EMPTY) for name, text in texts.items())
            or not isinstance(at_us, int)
            or isinstance(at_us, bool)
            or "truth" not in texts
        ):
            raise Problem("bad-request", f"a label has 'truth', and texts: {', '.join(_TEXTS)}; and labelled_at_us")
        if "part_id" in texts and (part_id := real_part_id(texts.pop("part_id"))) is not None:
            texts["part_id"] = part_id
        if not {"frame_id", "part_id"} & set(texts):
            raise Problem("bad-request", "a label names a frame (frame_id) or a part (part_id)")
        if "station" not in texts and "camera_id" not in texts:
            camera = self._camera(texts)
            if camera is None:
                raise Problem(
                    "unknown-inspection",
                    "no decision on this frame or part is kept, or several cameras decided on it: name station and "
                    "camera_id",
                )
            texts["station"], texts["camera_id"] = camera
        person = texts.pop("labelled_by", "")
        if len(person) > LONGEST_PERSON:
            raise Problem("invalid-label", f"labelled_by: more than {LONGEST_PERSON} characters")
        by = "/".join(name for name in (client, person) if name) or "local"
        try:
            return make_label(
                texts.pop("truth"),
                labelled_by=by,
                labelled_at_us=at_us,
                line=self._line.settings.line,
                **texts,
            )
        except LabelError as error:
            raise Problem("invalid-label", str(error)) from None

    def _camera(self, texts: dict[str, Any]) -> tuple[str, str] | None:
        """Return the camera of the frame or the part; None if it is not known, or if there are several."""
        named = camera_of(texts.get("frame_id", ""))
        if named is not None:
            return named
        index = self._line.reader.index
        found: list[Decision] = []
        if "frame_id" in texts:
            decision = index.get(texts["frame_id"])
            found = [] if decision is None else [decision]
        elif "part_id" in texts:
            found = index.of_part(texts["part_id"], MOST_DECISIONS)
        cameras = {(decision.station, decision.camera_id) for decision in found}
        return cameras.pop() if len(cameras) == 1 else None


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        values = read_json(data)
    except ValueError:
        raise Problem("bad-request", "the body is not JSON") from None
    if not isinstance(values, dict):
        raise Problem("bad-request", "the body is not a JSON object")
    return values
