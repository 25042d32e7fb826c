"""Several images in one request: ``POST /v1/inspections:batch``.

A body of ``multipart/form-data`` has several parts ``file``; its fields count for all. A body of
``application/x-ndjson`` has a JSON object in each line: ``image`` in base64, the fields of a single request, and
``idempotency_key``. Fields of the query, and the header ``Idempotency-Key``, count for each image without its own. The
answer is 200 with one entry for each image, in order, each with a status of its own.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.bodies import Body, parsed
from gateway.image_request import (
    FIELDS,
    FORM_TYPE,
    NO_FIELDS,
    ImageFields,
    attributes_of,
    fields_of,
    station_of,
    with_fields,
)
from gateway.inspections import Arrival, Inspections, location_of, require_identity_coding, require_key, verdict_of
from gateway.json_body import read_json
from gateway.keys import item_key, parse_key
from gateway.line import GatewayLine
from gateway.multipart import parse_form, text_of
from gateway.outcome import decision_values
from gateway.preferences import Patience
from gateway.problems import Problem
from gateway.query import query_items

NDJSON_TYPE = "application/x-ndjson"
#: Most images of a batch. A client may have fewer requests at hand.
MOST_IMAGES = 64
_MOST_LINES = 1000
_ENTRIES = (*FIELDS, "image", "idempotency_key")


@dataclass(frozen=True, slots=True)
class BatchItem:
    """Image of a batch, with its fields and its key."""

    data: bytes
    fields: ImageFields
    key: str | None


class Batches:
    """Requests with several images."""

    def __init__(self, line: GatewayLine, inspections: Inspections) -> None:
        self._line = line
        self._inspections = inspections

    async def post(self, request: Request) -> Response:
        """Answer ``POST /v1/inspections:batch``."""
        arrival = self._inspections.arrive(request)
        self._line.require_line()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (FORM_TYPE, NDJSON_TYPE):
            raise Problem("not-an-image", f"Content-Type {kind[:60]!r}: say {FORM_TYPE} or {NDJSON_TYPE}")
        require_identity_coding(request)
        query = fields_of(query_items(request))
        patience = self._inspections.patience(request, query)
        settings = self._line.settings
        station_of(arrival.client, query.station, settings.station)  # it counts for all images
        name = arrival.client.name
        with self._line.load.admit(name) as places, Body(self._line.memory, name) as body:
            data = await body.read(request, settings.most_body_bytes, settings.body_s, patience.wait_s)
            if kind == FORM_TYPE:
                parts = await parsed(data, partial(parse_form, request.headers["content-type"]))
                items = _form_items(parts, arrival.key, query)
                del parts
            else:
                items = await parsed(data, partial(_line_items, key=arrival.key, query=query))
            del data
            if kind == FORM_TYPE and items:  # its fields count for all images
                self._inspections.patience(request, items[0].fields)
            if not 1 <= len(items) <= MOST_IMAGES:
                raise _not_a_batch(len(items))
            places.extend(len(items))
            entries = await asyncio.gather(*(self._entry(request, arrival, item) for item in items))
        return JSONResponse({"inspections": entries})

    async def _entry(self, request: Request, arrival: Arrival, item: BatchItem) -> dict[str, Any]:
        """Return the entry of one image; whatever is wrong with it is in the entry."""
        arrival = replace(arrival, key=item.key)
        frame_id = None
        try:
            require_key(arrival)
            patience: Patience = self._inspections.patience(request, item.fields)
            found = await self._inspections.found(arrival, item.data, item.fields, patience)
            frame_id = found.frame_id
            if found.decision is None and patience.responds_async:
                return {"status": 202, "frame_id": frame_id, "location": location_of(frame_id)}
            decision = verdict_of(found, patience)
        except Problem as error:
            return {"status": error.status, "frame_id": error.instance or frame_id, "problem": error.as_dict()}
        return {"status": 200, "frame_id": frame_id, "decision": decision_values(decision)}


def _form_items(parts: list[Any], key: str | None, query: ImageFields) -> list[BatchItem]:
    fields = with_fields(query, ((part.name, text_of(part)) for part in parts if part.name != "file"))
    images = [part.data for part in parts if part.name == "file"]
    return [BatchItem(data, fields, item_key(key, number)) for number, data in enumerate(images)]


def _not_a_batch(count: int) -> Problem:
    return Problem("bad-request", f"the batch has {count} images; 1 to {MOST_IMAGES}")


def _line_items(data: bytes, key: str | None = None, query: ImageFields = NO_FIELDS) -> list[BatchItem]:
    if data.count(b"\n") > _MOST_LINES:
        raise Problem("bad-request", f"the batch has more than {_MOST_LINES} lines; 1 to {MOST_IMAGES} have an image")
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) > MOST_IMAGES:
        raise _not_a_batch(len(lines))
    return [_line_item(line, item_key(key, number), query) for number, line in enumerate(lines)]


def _line_item(line: bytes, key: str | None, query: ImageFields) -> BatchItem:
    try:
        values = read_json(line)
    except ValueError:
        raise Problem("bad-request", "a line of the batch is not JSON") from None
    if not isinstance(values, dict) or not set(values) <= set(_ENTRIES) or not isinstance(values.get("image"), str):
        raise Problem("bad-request", f"a line of the batch is an object with 'image', and {', '.join(_ENTRIES)}")
    try:
        data = base64.b64decode(values["image"], validate=True)
    except (binascii.Error, ValueError):
        raise Problem("bad-request", "an image of the batch is not base64") from None
    stated = {name: value for name, value in values.items() if value is not None}
    attributes = attributes_of(stated.pop("attributes", query.attributes))
    if type(stated.get("deadline_ms")) is int:
        stated["deadline_ms"] = str(stated["deadline_ms"])
    if not all(isinstance(value, str) for value in stated.values()):
        raise Problem("bad-request", "the fields of a line of the batch are texts")
    key = parse_key(stated.pop("idempotency_key", None)) or key
    fields = with_fields(query, ((name, stated[name]) for name in FIELDS if name in stated))
    return BatchItem(data, replace(fields, attributes=attributes), key)
