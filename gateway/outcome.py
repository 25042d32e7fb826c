"""HTTP status of a decision.

===========================================  ======  =====================
decision                                     status  problem
===========================================  ======  =====================
COMPLETED, in time                           200
COMPLETED, late                              504     ``deadline-exceeded``
ABORTED                                      504     ``deadline-exceeded``
FAILED, the image cannot be read             422     ``image-unreadable``
FAILED otherwise                             502     ``inspection-failed``
===========================================  ======  =====================

A decision that is no verdict is never a 200: a client that only reads ``action`` would take it for one. It is the
member ``decision`` of the problem.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from gateway.problems import Problem
from producers.message import traceparent
from schemas.avro_values import as_values
from schemas.json_text import plain
from schemas.records import Decision, ResultState

#: Beginnings of the reasons of FAILED decisions that are about the image itself.
_OF_THE_IMAGE = ("unreadable-image", "image-too-large", "altered-image", "size-mismatch")


def decision_values(decision: Decision) -> dict[str, Any]:
    """Return a decision as a JSON object: the field names of the Avro schema."""
    found: dict[str, Any] = plain(as_values(decision))
    return found


def decision_json(decision: Decision) -> bytes:
    """Return `decision_values` as JSON text."""
    try:
        # Nearly all decisions are JSON as they are: to look at each value takes longer than to write the text.
        text = json.dumps(as_values(decision), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except ValueError:
        return json.dumps(decision_values(decision), separators=(",", ":")).encode()


def problem_of(decision: Decision) -> Problem | None:
    """Return the problem that a decision means for the client; None for a verdict in time."""
    if decision.result_state is ResultState.COMPLETED:
        if not decision.is_late:
            return None
        name, detail = "deadline-exceeded", "the decision came after the deadline"
    elif decision.result_state is ResultState.ABORTED:
        name, detail = "deadline-exceeded", decision.reason
    elif decision.reason.startswith(_OF_THE_IMAGE):
        name, detail = "image-unreadable", decision.reason
    else:
        name, detail = "inspection-failed", decision.reason
    return Problem(name, detail, instance=decision.frame_id, decision=decision_values(decision))


def decision_response(decision: Decision, headers: dict[str, str]) -> Response:
    """Return the response to a request for a decision.

    Raises
    ------
    Problem
        See `problem_of`.
    """
    problem = problem_of(decision)
    if problem is not None:
        problem.headers = {**headers, "traceparent": traceparent(decision.frame_id)}
        raise problem
    return Response(decision_json(decision), headers=headers, media_type="application/json")
