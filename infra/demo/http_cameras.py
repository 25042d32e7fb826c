"""Cameras of a demo run that ask over HTTP, one request after the other, and a gateway for them."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from infra.demo.processes import ServedProcess
from producers.camera import Capture
from producers.encoding import encode_capture
from producers.options import CameraIdentity
from schemas.records import Encoding
from schemas.settings import KafkaSettings
from transport.loopback import open_direct

#: Name of the gateway in the names of its cameras.
INSTANCE = "demo"
#: Time beyond the wait after which a request has no answer, in seconds.
_MARGIN_S = 2.0
#: Age at which a connection without a request is not used any more, in seconds: the gateway closes it after ten.
_IDLE_S = 5.0
#: Wait of a run that inspects everything, late or not, in seconds.
LONG_WAIT_S = 30.0
_TYPES = {
    Encoding.JPEG: "image/jpeg",
    Encoding.PNG: "image/png",
    Encoding.TIFF: "image/tiff",
    Encoding.BMP: "image/bmp",
}


class GatewayProcess(ServedProcess):
    """Process of `inspection gateway` for a line, with a client and a token for each camera.

    Parameters
    ----------
    clients
        Names of the clients.

    Attributes
    ----------
    tokens
        Token of each client.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        line: str,
        station: str,
        clients: Sequence[str],
        scratch: Path,
        client_file: Path | None = None,
    ) -> None:
        from gateway.clients import new_token, token_hash

        self.tokens = {name: new_token(name)[0] for name in clients}
        entries = {name: {"token_sha256": token_hash(token)} for name, token in self.tokens.items()}
        file = scratch / "tokens.yaml"
        file.write_text(json.dumps({"clients": entries}), encoding="utf-8")  # JSON is YAML
        options = ["--line", line, "--station", station, "--instance", INSTANCE, "--tokens", str(file)]
        log = scratch / "gateway.log"
        super().__init__("gateway", kafka, group=None, log=log, options=options, client_file=client_file)

    def is_ready(self) -> bool:
        """Return True if the gateway takes requests."""
        try:
            with open_direct(self.url + "/ready", 1):
                return True
        except OSError:
            return False


def camera_identity(line: str, station: str, client: str) -> CameraIdentity:
    """Return the name that the gateway gives to the camera of a client."""
    from gateway.identity import camera_identity as identity_of

    return identity_of(line, station, client, INSTANCE, 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests of a demo run: number by status, those without an answer, and times to the answers in ms."""

    by_status: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    dropped: int = 0
    latencies_ms: tuple[float, ...] = ()
    failed: int = 0


class HttpCamera:
    """Publisher that posts each capture to a gateway, and waits for the answer, as a station at the edge does.

    An answer that names a frame tells that the frame was published. A request that the gateway refused counts as
    ``dropped``, one without an answer as ``pending``: it may or may not be a frame.

    Parameters
    ----------
    identity
        Camera of the frames.
    url, token
        Address of the gateway, and token of the client.
    deadline_ms
        Deadline of each frame, in ms.
    wait_s
        Longest wait for an answer, in seconds.
    on_published
        Called with the id of each frame.
    """

    def __init__(
        self,
        identity: CameraIdentity,
        url: str,
        token: str,
        *,
        deadline_ms: int,
        wait_s: float,
        lot: str,
        on_published: Callable[[str], object],
    ) -> None:
        self.identity = identity
        self._headers = {"Authorization": f"Bearer {token}", "Prefer": f"wait={wait_s:g}"}
        self._fields = {"deadline_ms": str(deadline_ms), "lot": lot}
        self._on_published = on_published
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=wait_s + _MARGIN_S)
        self._statuses: Counter[str] = Counter()
        self._pending = self._dropped = 0
        self._latencies_ms: list[float] = []
        self._used_s = time.monotonic()

    def publish(self, capture: Capture) -> str | None:
        """Ask for a decision on a capture; return the id of its frame, None without an answer that names one."""
        image = encode_capture(capture)
        fields = {**self._fields, "attributes": json.dumps(capture.attributes)}
        if capture.part_id is not None:
            fields["part_id"] = capture.part_id
        headers = {**self._headers, "Content-Type": _TYPES.get(image.encoding, "application/octet-stream")}
        since_s = time.monotonic()
        if since_s - self._used_s > _IDLE_S:
            self._connection.close()
        try:
            self._connection.request("POST", f"/v1/inspections?{urlencode(fields)}", image.data, headers)
            answer = self._connection.getresponse()
            values = json.loads(answer.read())
            frame_id = values["frame_id"] if answer.status == 200 else values.get("instance")
        except (OSError, http.client.HTTPException, ValueError, KeyError, AttributeError):
            self._connection.close()
            self._pending += 1
            return None
        self._used_s = time.monotonic()
        self._latencies_ms.append((self._used_s - since_s) * 1000)
        self._statuses[str(answer.status)] += 1
        if frame_id is None:
            self._dropped += 1
            return None
        self._on_published(frame_id)
        return str(frame_id)

    def close(self) -> Asked:
        """Close the connection, and return the counts. Idempotent."""
        self._connection.close()
        return Asked(dict(self._statuses), self._pending, self._dropped, tuple(self._latencies_ms))
