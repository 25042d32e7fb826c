"""The records that travel in topics, as frozen dataclasses.

The ``.avsc`` files under ``schemas/avro`` are the source of truth for other languages; a test holds these
classes to them, field by field. Times are UTC microseconds since 1970, durations milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MICROSECONDS_PER_MS = 1_000


class Encoding(StrEnum):
    """How the image bytes of a frame are encoded."""

    JPEG = "JPEG"
    PNG = "PNG"
    BMP = "BMP"
    TIFF = "TIFF"
    OTHER = "OTHER"


class Verdict(StrEnum):
    """What is known of the part, in the words of OPC 40001-101."""

    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"


class Action(StrEnum):
    """What the gate is to do; ``REVIEW`` diverts the part to a person."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    REVIEW = "REVIEW"


class ResultState(StrEnum):
    """How the inspection ended, after OPC 40100-1."""

    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Where an image too large for the topic lies: a URI and its size."""

    uri: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Defect:
    """One found defect; the box is x, y, width, height in pixels of the frame."""

    label: str
    score: float
    box_xywh: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One captured image with its metadata; exactly one of ``image`` and ``reference`` is set.

    Examples
    --------
    >>> frame = Frame(frame_id="s.c.1.0", line="l", station="s", camera_id="c", started_at_us=1, sequence=0,
    ...               captured_at_us=1_000, deadline_ms=5, encoding=Encoding.JPEG, width=2, height=2,
    ...               sha256="", image=b"...")
    >>> frame.key, frame.deadline_at_us
    ('s/c', 6000)
    """

    frame_id: str
    line: str
    station: str
    camera_id: str
    started_at_us: int
    sequence: int
    captured_at_us: int
    encoding: Encoding
    width: int
    height: int
    sha256: str
    part_id: str | None = None
    lot: str | None = None
    deadline_ms: int | None = None
    image: bytes | None = None
    reference: ImageReference | None = None
    attributes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.image is None) == (self.reference is None):
            raise ValueError("a frame has either an image or a reference to one")

    @property
    def key(self) -> str:
        """Key of the message: what one camera publishes stays in order."""
        return f"{self.station}/{self.camera_id}"

    @property
    def deadline_at_us(self) -> int | None:
        """Moment after which a decision is useless; None without a deadline."""
        return None if self.deadline_ms is None else self.captured_at_us + self.deadline_ms * MICROSECONDS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided on one frame, and everything needed to say why."""

    decision_id: str
    frame_id: str
    line: str
    station: str
    camera_id: str
    started_at_us: int
    sequence: int
    image_sha256: str
    verdict: Verdict
    action: Action
    result_state: ResultState
    reason: str
    model_name: str
    model_version: str
    model_sha256: str
    recipe_id: str
    recipe_revision: str
    captured_at_us: int
    received_at_us: int
    decided_at_us: int
    source_topic: str
    source_partition: int
    source_offset: int
    part_id: str | None = None
    lot: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    score: float | None = None
    threshold: float | None = None
    labels: dict[str, float] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
    model_stage: str = "champion"
    signals: dict[str, float] = field(default_factory=dict)
    deadline_at_us: int | None = None
    durations_ms: dict[str, float] = field(default_factory=dict)
    is_late: bool = False
    is_simulated: bool = False
    is_partial: bool = False

    @property
    def key(self) -> str:
        """Key of the message: as the frame's."""
        return f"{self.station}/{self.camera_id}"

    @property
    def part_key(self) -> str:
        """What the gate tracks: the part where one is named, else the frame."""
        return self.part_id if self.part_id is not None else self.frame_id


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that could not be processed, kept with the reason."""

    source_topic: str
    source_partition: int
    source_offset: int
    kind: str
    reason: str
    failed_at_us: int
    worker: str
    frame_id: str | None = None
    key: bytes | None = None
    value: bytes | None = None
    headers: dict[str, bytes] = field(default_factory=dict)


Record = Frame | Decision | DeadLetter
