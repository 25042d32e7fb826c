"""Records of the messages in topics, as frozen dataclasses.

The ``.avsc`` files under ``schemas/avro`` are the source of truth for other languages. A test compares these classes
with the files, field by field. Times are UTC microseconds since 1970, durations are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MICROSECONDS_PER_MS = 1_000


class Encoding(StrEnum):
    """Encoding of the image bytes of a frame."""

    JPEG = "JPEG"
    PNG = "PNG"
    BMP = "BMP"
    TIFF = "TIFF"
    OTHER = "OTHER"


class Verdict(StrEnum):
    """Verdict on the part, in the words of OPC 40001-101."""

    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"


class Action(StrEnum):
    """Action that the gate is to perform; ``REVIEW`` diverts the part to a person."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    REVIEW = "REVIEW"


class ResultState(StrEnum):
    """State in which the inspection ended, after OPC 40100-1."""

    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"
    FAILED = "FAILED"


class DriftType(StrEnum):
    """Kind of data that drifts: the signals of cameras and model (data), or the correctness of the model (concept)."""

    DATA = "DATA"
    CONCEPT = "CONCEPT"


class DriftKind(StrEnum):
    """Course of the change, as far as it is known; `monitoring.drift.kind` has the rule."""

    UNDETERMINED = "UNDETERMINED"
    SUDDEN = "SUDDEN"
    GRADUAL = "GRADUAL"
    INCREMENTAL = "INCREMENTAL"
    RECURRING = "RECURRING"


class EpisodeState(StrEnum):
    """State of an episode after an event; ``ACKNOWLEDGED`` comes from a person, and does not close the episode."""

    OPENED = "OPENED"
    UPDATED = "UPDATED"
    CLOSED = "CLOSED"
    ACKNOWLEDGED = "ACKNOWLEDGED"


class AuditOutcome(StrEnum):
    """Moment at which an event was written: before an act, or after it; ``UNKNOWN`` is of a later version."""

    UNKNOWN = "UNKNOWN"
    BEGUN = "BEGUN"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Reference to an image that is too large for the topic: its URI and its size."""

    uri: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Defect:
    """Defect that the model found; the box is x, y, width, height in pixels of the frame."""

    label: str
    score: float
    box_xywh: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Captured image with its metadata; exactly one of ``image`` and ``reference`` is set.

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
        """Key of the message. All frames of one camera have the same key, so they stay in order."""
        return f"{self.station}/{self.camera_id}"

    @property
    def deadline_at_us(self) -> int | None:
        """Moment after which a decision is useless, UTC microseconds; None if there is no deadline."""
        return None if self.deadline_ms is None else self.captured_at_us + self.deadline_ms * MICROSECONDS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision on one frame, with everything that is needed to explain it."""

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
        """Key of the message, the same as that of the frame."""
        return f"{self.station}/{self.camera_id}"

    @property
    def part_key(self) -> str:
        """Key under which the gate tracks the part: the part id, or the frame id if there is no part id."""
        return self.part_id if self.part_id is not None else self.frame_id


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Message that could not be processed, with the reason."""

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
    """True state of a part, which a person or a downstream test states later.

    ``truth`` is OK or NOT_OK. ``frame_id`` or ``part_id`` names the frame or the part. ``sampled_because`` is the
    reason for which this part was checked (``reject``, ``review``, ``random``, ``episode``, ...): labels of rejected
    parts alone do not show escapes.

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
        """Key of the message, the same as that of the frame."""
        return f"{self.station}/{self.camera_id}"


@dataclass(frozen=True, slots=True)
class SignalChange:
    """Change of one signal: its mean before and after, and their difference.

    The difference ``magnitude_sd`` is in standard deviations of the signal before the change.
    """

    signal: str
    detector: str
    before: float
    after: float
    magnitude_sd: float


#: Cause of an episode that began in a declared warm-up of the camera. Reports show the episode, but no gate acts on it.
WARM_UP = "warm-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvent:
    """Event of an episode of drift; the newest event of an ``episode_id`` contains all that is known of the episode.

    ``cause`` names the fault of a sensor (``frozen``, ``black``, ``saturated``, ``out-of-focus``) if it is known, or is
    `WARM_UP`; otherwise it is empty. ``started_frame_id`` is the estimated first frame of the change, and
    ``detected_frame_id`` the frame of the alarm. ``source_*`` is the place of the decision (or label) that led to the
    event.
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
        """Key of the message, the same as that of the frame."""
        return f"{self.station}/{self.camera_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """Act of a person on a line, as the audit log keeps it.

    ``principal`` is the user of Kafka under which the command ran, ``stated_by`` what the person typed. ``chain_*`` is
    the state of the chain that the writer saw, see `transport.audit_chain`.
    """

    event_id: str
    written_at_us: int
    act: str
    outcome: AuditOutcome
    about: str
    principal: str
    login: str
    before: str = ""
    after: str = ""
    stated_by: str = ""
    note: str = ""
    host: str = ""
    uid: int = -1
    program: str = ""
    chain_offset: int = -1
    chain_sha256: str = ""

    @property
    def key(self) -> str:
        """Key of the message: the principal."""
        return self.principal


Record = Frame | Decision | DeadLetter | Label | DriftEvent | AuditEvent
