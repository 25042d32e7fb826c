"""Inspections: ``POST /v1/inspections`` and ``GET /v1/inspections/{frame_id}``.

The way of a request, in the order of `Inspections.post`:

1. who asks, and may they; 2. is the line there; 3. wait, deadline and key; 4. room among the requests at hand; 5. the
body; 6. image and fields; 7. an answer that is known for this key; 8. a prospect of an answer in time; 9. the claim on
the key; 10. publish the frame; 11. wait for its decision; 12. the status that the decision means.

Whatever fails raises a `Problem`, which is the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.bodies import Body, parsed
from gateway.clients import Client
from gateway.frame_publisher import FrameRequest
from gateway.identity import is_of_client, keyed_frame_id
from gateway.image_request import FORM_TYPE, ImageFields, content_kind, fields_of, form_fields, image_of, station_of
from gateway.keys import key_reused, parse_key
from gateway.line import GatewayLine
from gateway.multipart import parse_form
from gateway.outcome import decision_response, problem_of
from gateway.preferences import Patience, patience_of, wait_of
from gateway.presence import Presence
from gateway.problems import Problem
from gateway.query import query_items
from producers.message import traceparent
from schemas.records import Decision

#: Room for the fields and boundaries of a form around the image, in bytes.
FORM_BYTES = 64 * 1024
#: Time in which a request that does not wait for its decision gets its key, and has its image stored, in seconds.
_PUBLISHED_S = 5.0
#: Images above this size are hashed in another thread, in bytes.
_LARGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """Request at its arrival: its client and connection, its time (UTC µs, and monotonic in seconds), and its key."""

    client: Client
    presence: Presence
    at_us: int
    at_s: float
    key: str | None


@dataclass(frozen=True, slots=True)
class Inspected:
    """Frame of a request, its decision (None before it comes), and True if an earlier request had this answer."""

    frame_id: str
    decision: Decision | None
    is_replayed: bool = False


class Inspections:
    """Requests for decisions on images."""

    def __init__(self, line: GatewayLine) -> None:
        self._line = line

    def arrive(self, request: Request, scope: str = "inspect") -> Arrival:
        """Return who asks, and when.

        Raises
        ------
        Problem
            If the client is unknown or may not ask, or if the key is missing or malformed.
        """
        at_us, at_s = self._line.clock.utc_us(), self._line.clock.monotonic_s()
        client = self._line.clients.of(request.headers.get("authorization"))
        client.require(scope)
        keys = {*request.headers.getlist("idempotency-key")}
        if len(keys) > 1:
            raise Problem("bad-request", "the header Idempotency-Key is there with several values")
        return Arrival(client, Presence(request.receive), at_us, at_s, parse_key(next(iter(keys), None)))

    async def post(self, request: Request) -> Response:
        """Answer ``POST /v1/inspections``."""
        arrival = self.arrive(request)
        self._line.require_line()
        query = fields_of(query_items(request))
        patience = self.patience(request, query)
        require_key(arrival)
        kind = content_kind(request.headers.get("content-type"))
        require_identity_coding(request)
        name = arrival.client.name
        with self._line.load.admit(name), Body(self._line.memory, name) as body:
            most_bytes = self._line.publisher.largest_image_bytes + (FORM_BYTES if kind == FORM_TYPE else 0)
            data = await body.read(request, most_bytes, self._line.settings.body_s, patience.wait_s)
            fields = query
            if kind == FORM_TYPE:
                parts = await parsed(data, partial(parse_form, request.headers["content-type"]))
                data, fields = form_fields(parts, query)
                del parts
                patience = self.patience(request, fields)
            frame_request = await self.frame_request(arrival, data, fields, patience)
            del data
            inspecting = self.inspect(arrival, frame_request, patience, body)
            del frame_request
            found = await inspecting
        return self._response(found, patience)

    def patience(
        self, request: Request, fields: ImageFields, wait_s: float | None = None, *, may_respond_async: bool = True
    ) -> Patience:
        """Return wait and deadline of a request.

        Parameters
        ----------
        wait_s
            Wait that the body states, in seconds; one of the header ``Prefer`` counts before it.
        may_respond_async
            False if the preference ``respond-async`` is to be ignored.
        """
        deadlines = [fields.deadline_ms, *request.headers.getlist("x-deadline-ms")]
        longest_s = self._line.settings.longest_wait_s
        return patience_of(
            request.headers.getlist("prefer"),
            [text for text in deadlines if text is not None],
            self._line.settings.wait_s,
            longest_s,
            stated_s=None if wait_s is None else min(wait_s, longest_s),
            may_respond_async=may_respond_async,
        )

    async def frame_request(
        self, arrival: Arrival, data: bytes, fields: ImageFields, patience: Patience
    ) -> FrameRequest:
        """Return the frame to publish.

        Raises
        ------
        Problem
            If the bytes are not an image, or if a field is not valid.
        """
        image = image_of(data)
        if len(data) > self._line.publisher.largest_image_bytes:
            raise Problem("too-large", f"the image is larger than {self._line.publisher.largest_image_bytes} bytes")
        if len(data) > _LARGE_BYTES:
            sha256 = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        else:
            sha256 = hashlib.sha256(data).hexdigest()
        client = arrival.client
        station = station_of(client, fields.station, self._line.settings.station)
        return FrameRequest(
            client=client.name,
            station=station,
            image=image,
            sha256=sha256,
            captured_at_us=arrival.at_us,
            taken_s=arrival.at_s,
            deadline_ms=patience.deadline_ms,
            part_id=fields.part_id,
            lot=fields.lot,
            attributes=fields.attributes,
            named=None if arrival.key is None else keyed_frame_id(client.name, station, arrival.key, sha256),
        )

    async def found(self, arrival: Arrival, data: bytes, fields: ImageFields, patience: Patience) -> Inspected:
        """Publish an image and wait for its decision, see `frame_request` and `inspect`."""
        return await self.inspect(arrival, await self.frame_request(arrival, data, fields, patience), patience)

    async def inspect(
        self, arrival: Arrival, request: FrameRequest, patience: Patience, body: Body | None = None
    ) -> Inspected:
        """Publish the frame, unless its key has been seen, and wait for the decision.

        The memory of ``body`` is returned as soon as the frame is published.
        """
        until_s = arrival.at_s + patience.longest_s
        # A request that does not wait for the decision waits for its key, and for the image store.
        published_s = until_s
        if patience.responds_async:
            published_s = max(until_s, self._line.clock.monotonic_s() + _PUBLISHED_S)
        sha256 = request.sha256
        if request.named is None:
            self._require_prospect(arrival, request, patience)
            frame_id = await self._line.publish(request, published_s)
            del request
            if body is not None:
                body.release()
            return Inspected(frame_id, await self._line.decision(frame_id, until_s, arrival.presence))
        frame_id = request.named
        known = self._line.known(frame_id)
        if known is not None:
            return Inspected(frame_id, _of_image(known, sha256), is_replayed=True)
        with self._line.keys.hold(frame_id):
            claiming = self._claimed(arrival, request, frame_id, patience, until_s, published_s, body)
            del request
            is_ours, decision = await claiming
        return Inspected(frame_id, None if decision is None else _of_image(decision, sha256), is_replayed=not is_ours)

    async def _claimed(
        self,
        arrival: Arrival,
        request: FrameRequest,
        frame_id: str,
        patience: Patience,
        until_s: float,
        published_s: float,
        body: Body | None,
    ) -> tuple[bool, Decision | None]:
        """Publish the frame if its key can be had, else wait for the decision on the frame that another has published.

        If that decision is overdue, the frame is published after all. Return True in the first place if this request
        has published it.
        """
        clock_s = self._line.clock.monotonic_s
        claims = self._line.claims
        while True:
            if not claims.is_taken(frame_id):
                self._require_prospect(arrival, request, patience)
                if await claims.take(frame_id, _left_s(request.deadline_ms, clock_s() - arrival.at_s), published_s):
                    break
            overdue_s = claims.overdue_s(frame_id)
            decision = await self._line.decision(frame_id, min(until_s, overdue_s), arrival.presence)
            if decision is not None or clock_s() >= until_s:
                return False, decision
        try:
            await self._line.publish(request, published_s)
        except BaseException:  # an end of the gateway, too
            claims.release(frame_id)
            raise
        del request
        if body is not None:
            body.release()
        return True, await self._line.decision(frame_id, until_s, arrival.presence)

    def _require_prospect(self, arrival: Arrival, request: FrameRequest, patience: Patience) -> None:
        """Check that the decision can come in time."""
        spent_s = self._line.clock.monotonic_s() - arrival.at_s
        if request.deadline_ms is not None and spent_s * 1000 >= request.deadline_ms:
            raise Problem("deadline-exceeded", f"the deadline passed while the body came, which took {spent_s:.1f} s")
        self._line.load.require_answers(None if patience.responds_async else patience.wait_s - spent_s)

    def _response(self, found: Inspected, patience: Patience) -> Response:
        headers = {"Location": location_of(found.frame_id), "traceparent": traceparent(found.frame_id)}
        if patience.applied:
            headers["Preference-Applied"] = patience.applied
        if found.is_replayed:
            headers["Idempotency-Replayed"] = "true"
        if found.decision is not None:
            return decision_response(found.decision, headers)
        if patience.responds_async:
            return _pending(found.frame_id, headers)
        raise no_decision(found.frame_id, patience)

    async def get(self, request: Request) -> Response:
        """Answer ``GET /v1/inspections/{frame_id}``."""
        arrival = self.arrive(request, "inspect" if self._is_own(request) else "read")
        frame_id = request.path_params["frame_id"]
        wait_s = wait_of(dict(query_items(request)).get("wait"), self._line.settings.longest_wait_s)
        decision = self._line.known(frame_id)
        if decision is None and wait_s:
            with self._line.load.admit(arrival.client.name):
                decision = await self._line.decision(frame_id, arrival.at_s + wait_s, arrival.presence)
        headers = {"traceparent": traceparent(frame_id)}
        if decision is not None:
            return decision_response(decision, headers)
        if self._line.knows(frame_id) or await self._line.siblings_know(frame_id):
            return _pending(frame_id, {**headers, "Location": location_of(frame_id)})
        self._line.require_line()  # otherwise the decision may be there, and this gateway cannot read it
        raise Problem(
            "unknown-inspection",
            "no decision on this frame is kept, and this gateway has not published it; before the decision only the "
            "gateway that published a frame without a key knows it",
        )

    def _is_own(self, request: Request) -> bool:
        client = self._line.clients.of(request.headers.get("authorization"))
        return is_of_client(client.name, request.path_params["frame_id"])


def _left_s(deadline_ms: int | None, spent_s: float) -> float | None:
    """Return the time that is left until a deadline, in seconds."""
    return None if deadline_ms is None else max(0.0, deadline_ms / 1000 - spent_s)


def require_key(arrival: Arrival) -> None:
    """Check that the client states a key if its token demands one."""
    if arrival.client.key_required and arrival.key is None:
        raise Problem("key-missing", f"the token of {arrival.client.name} demands the header Idempotency-Key")


def require_identity_coding(request: Request) -> None:
    """Check that the body is not compressed."""
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise Problem("not-an-image", f"Content-Encoding {coding[:40]!r}: send the image as it is")


def no_decision(frame_id: str, patience: Patience) -> Problem:
    """Return the problem of a request whose wait has ended."""
    return Problem("deadline-exceeded", f"no decision within {patience.wait_s:g} s", instance=frame_id)


def verdict_of(found: Inspected, patience: Patience) -> Decision:
    """Return the decision, if it is a verdict in time.

    Raises
    ------
    Problem
        See `gateway.outcome.problem_of`; ``deadline-exceeded`` without a decision.
    """
    problem = no_decision(found.frame_id, patience) if found.decision is None else problem_of(found.decision)
    if problem is not None:
        raise problem
    assert found.decision is not None
    return found.decision


def location_of(frame_id: str) -> str:
    """Return the path at which the decision on a frame is found."""
    return f"/v1/inspections/{quote(frame_id)}"


def _of_image(decision: Decision, sha256: str) -> Decision:
    """Return the decision if it is on this image.

    Raises
    ------
    Problem
        ``key-reused``.
    """
    if decision.image_sha256 != sha256:
        raise key_reused(decision.frame_id)
    return decision


def _pending(frame_id: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"frame_id": frame_id, "status": "pending"}, 202, {**headers, "Retry-After": "1"})
