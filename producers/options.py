"""Identity of a camera, and options for publishing its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from models.sample_depth import DEPTHS
from producers.bounded_queue import Policy
from producers.encoding import EncodeMode
from schemas.addresses import masked_repr
from schemas.errors import SettingsError
from schemas.topics import FRAMES
from transport.image_store import STORE_ABOVE_BYTES

#: Longest deadline that a frame can state, in milliseconds.
_LONGEST_DEADLINE_MS = 2**31 - 1
_KIB = 1024
_MIB = 1024 * _KIB


@dataclass(frozen=True, slots=True)
class CameraIdentity:
    """Names in the frames of a camera: line, station, camera.

    Raises
    ------
    SettingsError
        If a name is empty, longer than 100 characters, or has characters other than letters, digits, ``_`` and ``-``.
        Names are joined with ``.`` and ``/`` in identities and keys, which must stay unique.

    Examples
    --------
    >>> CameraIdentity("line-1", "press", "top").key
    'press/top'
    """

    line: str
    station: str
    camera_id: str

    def __post_init__(self) -> None:
        for what, name in (("line", self.line), ("station", self.station), ("camera id", self.camera_id)):
            if not 0 < len(name) <= 100 or not all(c.isalnum() or c in "_-" for c in name):
                raise SettingsError(f"{what} {name!r}: 1 to 100 letters, digits, '_' or '-'")

    @property
    def key(self) -> str:
        """Key of the camera's messages."""
        return f"{self.station}/{self.camera_id}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PublisherOptions:
    """Options for encoding frames, and bounds for a Kafka that is slower than the camera.

    Parameters
    ----------
    encode, quality, bit_depth
        See `producers.encoding.encode_capture`.
    deadline_ms
        Time from the capture to the deadline, in milliseconds; a later decision is useless to the gate. None: no
        deadline.
    lot
        Lot of captures that name no lot.
    no_part_ids
        Texts that the camera or its barcode reader sends if it has read no part id, such as ``NOREAD``. A frame with
        such a text is published without a part id. An empty text always counts as such a text.
    policy
        Policy for a full hand-over queue.
    hand_over_frames, hand_over_bytes
        Bounds of the queue between the camera and the Kafka client.
    in_flight_frames, in_flight_kib
        Bounds of the Kafka client's own queue: frames that wait to be sent or to be acknowledged. Together with the
        bounds above they limit the memory that a slow broker can cost.
    image_store, store_above_bytes
        Images larger than ``store_above_bytes`` go to the store, and the frame refers to them; see
        `transport.image_store`. None: all images go into the topic, up to its limit.
    delivery_timeout_ms
        Longest time until the acknowledgement of a frame, in milliseconds; after it the frame has failed.

    Raises
    ------
    SettingsError
        If a value is impossible.
    """

    encode: EncodeMode = "as-is"
    quality: int = 95
    bit_depth: int | None = None
    deadline_ms: int | None = None
    lot: str | None = None
    no_part_ids: tuple[str, ...] = ()
    policy: Policy = "drop-oldest"
    hand_over_frames: int = 32
    hand_over_bytes: int = 64 * _MIB
    in_flight_frames: int = 64
    in_flight_kib: int = 64 * _KIB
    image_store: str | None = None
    store_above_bytes: int = STORE_ABOVE_BYTES
    delivery_timeout_ms: int = 120_000

    def __repr__(self) -> str:
        return masked_repr(self, "image_store")

    def __post_init__(self) -> None:
        if self.encode not in get_args(EncodeMode):
            raise SettingsError(f"encode {self.encode!r}: one of {', '.join(get_args(EncodeMode))}")
        if self.policy not in get_args(Policy):
            raise SettingsError(f"policy {self.policy!r}: one of {', '.join(get_args(Policy))}")
        if not 1 <= self.quality <= 100:
            raise SettingsError(f"quality {self.quality}: 1 to 100")
        if self.bit_depth is not None and self.bit_depth not in DEPTHS:
            raise SettingsError(f"bit depth {self.bit_depth}: {DEPTHS[0]} to {DEPTHS[-1]}")
        if self.deadline_ms is not None and not 1 <= self.deadline_ms <= _LONGEST_DEADLINE_MS:
            raise SettingsError(f"deadline of {self.deadline_ms} ms: from 1 to {_LONGEST_DEADLINE_MS}")
        if min(self.hand_over_frames, self.hand_over_bytes, self.in_flight_frames, self.delivery_timeout_ms) < 1:
            raise SettingsError("the bounds of queues and the delivery timeout are more than 0")
        if self.store_above_bytes < 0:
            raise SettingsError(f"store_above_bytes is {self.store_above_bytes}; 0 or more")
        if self.in_flight_kib * _KIB < FRAMES.max_message_bytes:
            # librdkafka would refuse the largest frame for ever.
            raise SettingsError(f"in_flight_kib must hold one frame of {FRAMES.max_message_bytes} bytes")
