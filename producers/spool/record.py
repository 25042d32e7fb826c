"""Frame on disk: all data that are needed to send it later, and a checksum over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from producers.message import Message, PublishedFrame
from producers.options import CameraIdentity

#: Start of the camera, and sequence number since then. Keys are unique, and sort in the order of capture.
FrameKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SpooledFrame:
    """Frame in the form in which the spool stores it.

    Parameters
    ----------
    started_at_us, sequence
        Place of the frame in the order of capture.
    about
        JSON of the `PublishedFrame`.
    value
        Encoded message, as it goes to the topic.
    """

    started_at_us: int
    sequence: int
    about: str
    value: bytes

    @property
    def key(self) -> FrameKey:
        """Key that is unique in a spool; keys sort in the order of capture."""
        return self.started_at_us, self.sequence

    @property
    def size_bytes(self) -> int:
        """Number of bytes that count towards the bound."""
        return len(self.value) + len(self.about)

    @property
    def checksum(self) -> bytes:
        """Checksum over all fields: BLAKE2b-128 (RFC 7693)."""
        digest = hashlib.blake2b(f"{self.started_at_us} {self.sequence} {self.about}\n".encode(), digest_size=16)
        digest.update(self.value)
        return digest.digest()

    @classmethod
    def of(cls, message: Message) -> SpooledFrame:
        """Make the record of a message."""
        about = json.dumps({**asdict(message.frame), "camera": asdict(message.frame.camera)}, separators=(",", ":"))
        return cls(message.started_at_us, message.frame.sequence, about, message.value)

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> SpooledFrame | None:
        r"""Return the record of a stored row: the fields, ``about`` as bytes, and the checksum behind them.

        Return None if the checksum shows that the row was altered.

        Examples
        --------
        >>> frame = SpooledFrame(1, 2, "{}", b"avro")
        >>> SpooledFrame.of_row((1, 2, b"{}", b"avro", frame.checksum)) == frame
        True
        >>> SpooledFrame.of_row((1, 2, b"{\xff", b"avro", frame.checksum))
        """
        try:
            frame = cls(row[0], row[1], row[2].decode(), row[3])
            return frame if frame.checksum == row[4] else None
        except (TypeError, ValueError, AttributeError):
            return None

    def message(self) -> Message:
        """Return the message of the record; the time of its capture by the monotonic clock is not known any more.

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
