"""Kafka message made of a capture."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeVar

from producers.camera import Capture
from producers.encoding import EncodedImage
from producers.options import CameraIdentity, PublisherOptions
from schemas.codec import MAX_REST_BYTES, Codec
from schemas.errors import InvalidRecord
from schemas.ids import frame_id
from schemas.records import Frame, ImageReference
from schemas.text import file_text

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PublishedFrame:
    """Frame without its image, as it is reported once the broker has acknowledged the frame."""

    frame_id: str
    camera: CameraIdentity
    sequence: int
    captured_at_us: int
    width: int
    height: int
    size_bytes: int
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Message:
    """Frame that is ready to send.

    ``started_at_us`` is the start of its camera, UTC µs. ``taken_s`` is the monotonic moment of the capture; None for a
    frame of an earlier process.
    """

    frame: PublishedFrame
    started_at_us: int
    value: bytes
    taken_s: float | None

    @property
    def place(self) -> tuple[int, int]:
        """Start of the camera and sequence number; places sort in the order of capture."""
        return self.started_at_us, self.frame.sequence

    @property
    def key(self) -> bytes:
        """Key of the Kafka message: station and camera, so that the frames of one camera stay in order."""
        return self.frame.camera.key.encode()

    @property
    def headers(self) -> list[tuple[str, str | bytes | None]]:
        """Headers of the Kafka message: the trace context."""
        return [("traceparent", traceparent(self.frame.frame_id))]


def traceparent(frame: str) -> str:
    """Return the W3C trace context of a frame, made from its id, so that the id is enough to find the trace.

    Reference: W3C Trace Context, section 3.2.

    Examples
    --------
    >>> traceparent("press.top.60a24181e4000.00000012")
    '00-2676ca2924588c95ce280718de0c02b2-44370710a152b8f5-01'
    """
    digest = hashlib.sha256(frame.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def make_message(
    capture: Capture,
    image: EncodedImage,
    *,
    identity: CameraIdentity,
    options: PublisherOptions,
    started_at_us: int,
    sequence: int,
    captured_at_us: int,
    taken_s: float,
    codec: Codec,
    reference: ImageReference | None = None,
    named: str | None = None,
    sha256: str | None = None,
) -> Message:
    """Build the frame record and encode it, with the reference to the image if there is one, else with the image.

    ``named`` is the frame id if it does not follow from camera and sequence number. ``sha256`` is the hash of the image
    if it is known.

    Raises
    ------
    InvalidRecord
        If a field of the capture does not fit the schema, or if names and attributes are larger than a worker accepts.
    """
    attributes = {_text(name): _text(value) for name, value in capture.attributes.items()}
    frame = Frame(
        frame_id=named or frame_id(identity.station, identity.camera_id, started_at_us, sequence),
        line=identity.line,
        station=identity.station,
        camera_id=identity.camera_id,
        part_id=_text(capture.part_id),
        lot=_text(capture.lot if capture.lot is not None else options.lot),
        started_at_us=started_at_us,
        sequence=sequence,
        captured_at_us=captured_at_us,
        deadline_ms=options.deadline_ms,
        encoding=image.encoding,
        width=image.width,
        height=image.height,
        sha256=sha256 or hashlib.sha256(image.data).hexdigest(),
        image=image.data if reference is None else None,
        reference=reference,
        attributes=attributes,
    )
    published = PublishedFrame(
        frame.frame_id,
        identity,
        sequence,
        captured_at_us,
        image.width,
        image.height,
        len(image.data),
        attributes,
    )
    value = codec.encode(frame)
    rest_bytes = len(value) - len(frame.image or b"")
    if rest_bytes > MAX_REST_BYTES[Frame]:
        raise InvalidRecord(
            f"names and attributes take {rest_bytes} bytes, more than the {MAX_REST_BYTES[Frame]} that a worker reads"
        )
    return Message(published, started_at_us, value, taken_s)


def _text(value: _T) -> _T:
    """Return a text with bytes that are not UTF-8 escaped, as in a file name; other values unchanged."""
    return file_text(value) if isinstance(value, str) else value  # type: ignore[return-value]
