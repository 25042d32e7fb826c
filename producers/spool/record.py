"""One frame on disk: what is needed to send it later, and a checksum over all of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from producers.message import Message, PublishedFrame
from producers.options import CameraIdentity

#: Start of the camera and sequence since: capture order, and unique.
FrameKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SpooledFrame:
    """A frame as the spool holds it.

    Parameters
    ----------
    started_at_us, sequence
        Its place in the order of capture.
    about
        JSON of the `PublishedFrame`.
    value
        The encoded message, as it goes to the topic.
    """

    started_at_us: int
    sequence: int
    about: str
    value: bytes

    @property
    def key(self) -> FrameKey:
        """Unique in a spool, and sorts in the order of capture."""
        return self.started_at_us, self.sequence

    @property
    def size_bytes(self) -> int:
        """What it counts towards the bound."""
        return len(self.value) + len(self.about)

    @property
    def checksum(self) -> bytes:
        """BLAKE2b-128 over all fields (RFC 7693)."""
        digest = hashlib.blake2b(f"{self.started_at_us} {self.sequence} {self.about}\n".encode(), digest_size=16)
        digest.update(self.value)
        return digest.digest()

    @classmethod
    def of(cls, message: Message) -> SpooledFrame:
        """Make the record of a message."""
        about = json.dumps({**asdict(message.frame), "camera": asdict(message.frame.camera)}, separators=(",", ":"))
        return cls(message.started_at_us, message.frame.sequence, about, message.value)

    def message(self) -> Message:
        """The message again; when it was captured by the monotonic clock is not known any more.

        Examples
        --------
        >>> frame = PublishedFrame("s.c.1.00000002", CameraIdentity("l", "s", "c"), 2, 0, 4, 3, 9, {"a": "b"})
        >>> message = Message(frame, 1, b"avro", taken_s=None)
        >>> SpooledFrame.of(message).message() == message
        True
        """
        about = json.loads(self.about)
        frame = PublishedFrame(**{**about, "camera": CameraIdentity(**about["camera"])})
        return Message(frame, self.started_at_us, self.value, taken_s=None)
