"""Routes of the clients of other servers, with the deadlines, keys, tokens and limits of all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.bodies import Body, parsed
from gateway.foreign import open_inference, tensorflow_serving
from gateway.foreign.model import MODEL, MODEL_PATHS
from gateway.image_request import ImageFields, fields_of
from gateway.inspections import (
    Arrival,
    Inspected,
    Inspections,
    location_of,
    require_identity_coding,
    require_key,
    verdict_of,
)
from gateway.keys import item_key
from gateway.line import GatewayLine
from gateway.load import Admission
from gateway.preferences import Patience
from gateway.problems import Problem
from gateway.query import query_items
from producers.message import traceparent
from schemas.records import Decision

_T = TypeVar("_T")


def foreign_routes(line: GatewayLine, inspections: Inspections, version: str) -> list[Route]:
    """Return the routes of Open Inference Protocol and TensorFlow Serving."""
    doors = _Doors(line, inspections, version)
    routes = [
        Route("/v2", doors.server, methods=["GET"]),
        Route("/v2/health/live", doors.live, methods=["GET"]),
        Route("/v2/health/ready", doors.ready, methods=["GET"]),
    ]
    for path in MODEL_PATHS:
        routes += [
            Route(f"/v2/models/{MODEL}{path}", doors.model, methods=["GET"]),
            Route(f"/v2/models/{MODEL}{path}/ready", doors.model_ready, methods=["GET"]),
            Route(f"/v2/models/{MODEL}{path}/infer", doors.infer, methods=["POST"]),
            Route(f"/v1/models/{MODEL}{path}", doors.tensorflow_status, methods=["GET"]),
            Route(f"/v1/models/{MODEL}{path}/metadata", doors.tensorflow_metadata, methods=["GET"]),
            Route(f"/v1/models/{MODEL}{path}:predict", doors.predict, methods=["POST"]),
        ]
    return routes


@dataclass(frozen=True, slots=True)
class _Answered:
    """Verdicts on all images of a request, and headers of the response."""

    decisions: Sequence[Decision]
    headers: dict[str, str]


class _Doors:
    def __init__(self, line: GatewayLine, inspections: Inspections, version: str) -> None:
        self._line = line
        self._inspections = inspections
        self._version = version

    async def server(self, request: Request) -> Response:
        return JSONResponse(open_inference.server_metadata(self._version))

    async def live(self, request: Request) -> Response:
        is_live = self._line.is_alive
        return JSONResponse({"live": is_live}, 200 if is_live else 503)

    async def ready(self, request: Request) -> Response:
        self._line.require_line()
        return JSONResponse({"live": True, "ready": True})

    async def model_ready(self, request: Request) -> Response:
        self._line.require_line()
        return JSONResponse({"name": MODEL, "ready": True})

    async def model(self, request: Request) -> Response:
        return JSONResponse(open_inference.model_metadata())

    async def tensorflow_status(self, request: Request) -> Response:
        return JSONResponse(tensorflow_serving.model_status(self._line.blocker is None))

    async def tensorflow_metadata(self, request: Request) -> Response:
        return JSONResponse(tensorflow_serving.model_metadata())

    async def infer(self, request: Request) -> Response:
        arrival, query, patience = self._begin(request)
        head_length = request.headers.get(open_inference.LENGTH_HEADER)
        read = partial(open_inference.read_infer_request, head_length=head_length, query=query)
        name = arrival.client.name
        with self._line.load.admit(name) as places, Body(self._line.memory, name) as body:
            asked = await self._read(request, body, patience, read)
            patience = self._patience(request, asked.fields, asked.wait_s)
            answered = await self._answered(arrival, places, asked.images, asked.fields, patience)
        content, head_bytes = open_inference.write_infer_response(asked, answered.decisions)
        headers, kind = answered.headers, "application/json"
        if head_bytes is not None:
            headers[open_inference.LENGTH_HEADER] = str(head_bytes)
            kind = "application/octet-stream"
        return Response(content, headers=headers, media_type=kind)

    async def predict(self, request: Request) -> Response:
        arrival, query, patience = self._begin(request)
        name = arrival.client.name
        with self._line.load.admit(name) as places, Body(self._line.memory, name) as body:
            asked = await self._read(request, body, patience, tensorflow_serving.read_predict_request)
            answered = await self._answered(arrival, places, asked.images, query, patience)
        return JSONResponse(
            tensorflow_serving.write_predict_response(asked, answered.decisions), headers=answered.headers
        )

    def _begin(self, request: Request) -> tuple[Arrival, ImageFields, Patience]:
        arrival = self._inspections.arrive(request)
        self._line.require_line()
        require_key(arrival)
        require_identity_coding(request)
        query = fields_of(query_items(request))
        return arrival, query, self._patience(request, query)

    def _patience(self, request: Request, fields: ImageFields, wait_s: float | None = None) -> Patience:
        """Return wait and deadline. These protocols have no answer without a decision: ``respond-async`` is ignored."""
        return self._inspections.patience(request, fields, wait_s, may_respond_async=False)

    async def _read(self, request: Request, body: Body, patience: Patience, parse: Callable[[bytes], _T]) -> _T:
        settings = self._line.settings
        data = await body.read(request, settings.most_body_bytes, settings.body_s, patience.wait_s)
        return await parsed(data, parse)

    async def _answered(
        self, arrival: Arrival, places: Admission, images: Sequence[bytes], fields: ImageFields, patience: Patience
    ) -> _Answered:
        """Return the verdicts on all images.

        Raises
        ------
        Problem
            That of the first image, in order, without a verdict in time. These protocols have one status for all.
        """
        single = len(images) == 1
        arrivals = [arrival if single else replace(arrival, key=item_key(arrival.key, i)) for i in range(len(images))]
        places.extend(len(images))
        results = await asyncio.gather(
            *(
                self._inspections.found(each, image, fields, patience)
                for each, image in zip(arrivals, images, strict=True)
            ),
            return_exceptions=True,
        )
        all_found: list[Inspected] = []
        decisions: list[Decision] = []
        for number, result in enumerate(results):
            try:
                if isinstance(result, BaseException):
                    raise result
                decisions.append(verdict_of(result, patience))
            except Problem as problem:
                if not single:
                    problem.detail = f"image {number}: {problem.detail}"
                raise
            all_found.append(result)
        headers = {}
        if single:
            frame_id = all_found[0].frame_id
            headers = {"Location": location_of(frame_id), "traceparent": traceparent(frame_id)}
        if patience.applied:
            headers["Preference-Applied"] = patience.applied
        if all(found.is_replayed for found in all_found):
            headers["Idempotency-Replayed"] = "true"
        return _Answered(decisions, headers)
