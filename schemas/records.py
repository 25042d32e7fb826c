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


class DriftType(StrEnum):
    """What drifts: what cameras and model say (data), or how right they are (concept)."""

    DATA = "DATA"
    CONCEPT = "CONCEPT"


class DriftKind(StrEnum):
    """How the change came, as far as it is known; `stream_processors.drift.kind` has the rule."""

    UNDETERMINED = "UNDETERMINED"
    SUDDEN = "SUDDEN"
    GRADUAL = "GRADUAL"
    INCREMENTAL = "INCREMENTAL"
    RECURRING = "RECURRING"


class EpisodeState(StrEnum):
    """What an event says of its episode; ``ACKNOWLEDGED`` is said by a person, and closes nothing."""

    OPENED = "OPENED"
    UPDATED = "UPDATED"
    CLOSED = "CLOSED"
    ACKNOWLEDGED = "ACKNOWLEDGED"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The truth about a part, said later by a person or a downstream test.

    ``truth`` is OK or NOT_OK; ``frame_id`` or ``part_id`` says what it is about; ``sampled_because`` why this part
    was looked at (``reject``, ``review``, ``random``, ``episode``, ...): labels of rejected parts alone say nothing
    of escapes.

    Examples
    --------
    >>> label = Label(label_id="l1", station="s", camera_id="c", part_id="P-77", truth=Verdict.NOT_OK,
    ...               labelled_at_us=1, labelled_by="ada")
    >>> label.key
    's/c'
    """

    label_id: str
    station: str
    camera_id: str
    truth: Verdict
    labelled_at_us: int
    labelled_by: str
    line: str = ""
    frame_id: str | None = None
    part_id: str | None = None
    defect: str | None = None
    sampled_because: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.frame_id is None and self.part_id is None:
            raise ValueError("a label names a frame or a part")

    @property
    def key(self) -> str:
        """Key of the message: as the frame's."""
        return f"{self.station}/{self.camera_id}"


@dataclass(frozen=True, slots=True)
class SignalChange:
    """How one signal changed: its mean before and after, and the difference in standard deviations of before."""

    signal: str
    detector: str
    before: float
    after: float
    magnitude_sd: float


#: Cause of an episode that began in a declared warm-up of the camera: it is shown, but no gate acts on it.
WARM_UP = "warm-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvent:
    """One thing said of an episode of drift; the newest event of an ``episode_id`` holds all that is known.

    ``cause`` names the fault of a sensor (``frozen``, ``black``, ``saturated``, ``out-of-focus``) if known, or is
    `WARM_UP`, else it is empty. ``started_frame_id`` is the estimated first frame of the change,
    ``detected_frame_id`` the frame of the alarm. ``source_*`` is the decision (or label) that led to the event.
    """

    event_id: str
    episode_id: str
    state: EpisodeState
    drift_type: DriftType
    kind: DriftKind
    line: str
    station: str
    camera_id: str
    reason: str
    started_frame_id: str
    started_at_us: int
    detected_frame_id: str
    detected_at_us: int
    emitted_at_us: int
    model_name: str
    model_version: str
    model_sha256: str
    recipe_id: str
    recipe_revision: str
    source_topic: str
    source_partition: int
    source_offset: int
    cause: str = ""
    product: str | None = None
    signals: tuple[SignalChange, ...] = ()
    frames: int = 0
    frames_before: tuple[str, ...] = ()
    frames_after: tuple[str, ...] = ()
    closed_at_us: int | None = None
    closed_because: str = ""
    acknowledged_by: str | None = None
    note: str = ""
    is_simulated: bool = False

    @property
    def key(self) -> str:
        """Key of the message: as the frame's."""
        return f"{self.station}/{self.camera_id}"


Record = Frame | Decision | DeadLetter | Label | DriftEvent
