"""Problems: every answer that is not a success, as ``application/problem+json`` (RFC 9457).

::

    400  bad-request, key-missing            the request is malformed; the client's token demands a key
    401  unauthenticated                     there is no valid token
    403  forbidden                           the token does not allow it
    404  unknown-inspection, not-found       the id is unknown, or no longer kept; there is no such page
    405  method-not-allowed                  the method is wrong for the path
    408  too-slow                            the body did not come in time
    409  key-in-progress                     the first request with this key has no answer yet
    413  too-large                           the body or the image is too large
    415  not-an-image                        the body is not in a format that is inspected
    422  key-reused, image-unreadable        the key belongs to another image; the image cannot be inspected
    429  quota                               too many requests of this client at once
    500  internal                            a fault of the gateway
    502  inspection-failed                   the worker could not inspect the image
    503  overloaded, would-be-late, no-worker, broker-away, not-ready, draining
    504  deadline-exceeded                   no decision in time; it is enclosed if it came late
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse

from schemas.json_text import plain

URN = "urn:streaming-inspection:problem:"

#: Status and title of each problem.
PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request is malformed"),
    "key-missing": (400, "An Idempotency-Key is required"),
    "unauthenticated": (401, "No valid token"),
    "forbidden": (403, "The token does not allow this"),
    "unknown-inspection": (404, "The inspection is unknown, or no longer kept"),
    "not-found": (404, "There is no such page"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "too-slow": (408, "The body did not come in time"),
    "key-in-progress": (409, "The first request with this key has no answer yet"),
    "too-large": (413, "The body or the image is too large"),
    "not-an-image": (415, "The body is not in a format that is inspected"),
    "key-reused": (422, "The key belongs to another image"),
    "image-unreadable": (422, "The image cannot be inspected"),
    "invalid-label": (422, "The label cannot be accepted"),
    "quota": (429, "Too many requests of this client at once"),
    "internal": (500, "A fault of the gateway"),
    "inspection-failed": (502, "The worker could not inspect the image"),
    "overloaded": (503, "Too many requests at once"),
    "would-be-late": (503, "The decision would be late"),
    "no-worker": (503, "No worker answers"),
    "broker-away": (503, "Kafka is unreachable, or refuses the request"),
    "not-ready": (503, "The gateway is starting"),
    "draining": (503, "The gateway is stopping"),
    "deadline-exceeded": (504, "No decision in time"),
}


def is_foreign(path: str) -> bool:
    """Return True for the paths of Open Inference Protocol and TensorFlow Serving.

    Examples
    --------
    >>> [is_foreign(path) for path in ("/v2", "/v2/models/x", "/v1/models/x:predict", "/v1/inspections", "/v20")]
    [True, True, True, False, False]
    """
    return f"{path}/".startswith(("/v2/", "/v1/models/"))


class Problem(Exception):
    """Answer that is not a success.

    Parameters
    ----------
    name
        Key of `PROBLEMS`.
    detail
        One sentence on this case, with the remedy if there is one.
    retry_after_s
        Time after which the client may try again, in seconds; it is rounded up to whole seconds.
    instance
        Id of the frame.
    headers
        Further headers.
    members
        Further members of the JSON object, such as ``decision``.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        instance: str | None = None,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.status, self.title = PROBLEMS[name]
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.instance = instance
        self.headers = headers or {}
        self.members = members

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        found = {"type": URN + self.name, "title": self.title, "status": self.status, "detail": self.detail}
        if self.instance is not None:
            found["instance"] = self.instance
        return {**found, **plain(self.members)}

    def response(self, path: str = "") -> JSONResponse:
        """Return the response to a request of a path.

        The paths of other servers have the form of error that their clients read: ``{"error": "..."}``.
        """
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(min(self.retry_after_s, 3600))))
        if self.instance is not None:
            headers["Location"] = f"/v1/inspections/{quote(self.instance)}"
        if is_foreign(path):
            return JSONResponse({"error": f"{self.title}: {self.detail}"}, self.status, headers)
        return JSONResponse(self.as_dict(), self.status, headers, media_type="application/problem+json")
