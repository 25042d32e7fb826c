"""Names that a request gets on the line: its camera, and the id of a frame with an idempotency key."""

from __future__ import annotations

import hashlib

from producers.options import CameraIdentity

#: First part of the ids of frames with an idempotency key. The id does not name the camera, as other ids do.
KEYED = "http-key"


def camera_identity(line: str, station: str, client: str, instance: str, number: int) -> CameraIdentity:
    """Return the camera of a client at one gateway.

    Examples
    --------
    >>> camera_identity("line-1", "http", "press-7", "pc4-8080", 0).key
    'http/press-7--pc4-8080--0'
    """
    return CameraIdentity(line, station, f"{client}--{instance}--{number}")


def keyed_frame_id(client: str, station: str, key: str, sha256: str) -> str:
    """Return the id of the frame of an idempotency key: the same at every gateway, and after a restart.

    The decision on the frame is found by this id in the decisions topic, so the topic remembers the key. The id has the
    hash of the image: two images never have one id. A station has no ``/`` in its name.

    Examples
    --------
    >>> image = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    >>> keyed_frame_id("press-7", "http", "shift-2/part-77", image)
    'http-key.press-7.a2058998f5cc9f300b90cc72c00a4a19.e3b0c44298fc1c14'
    """
    scoped = hashlib.sha256(f"{station}/{key}".encode()).hexdigest()[:32]
    return f"{KEYED}.{client}.{scoped}.{sha256[:16]}"


def key_of(frame_id: str) -> str | None:
    """Return the part of a frame id that names the client and the key; None for a frame without a key.

    Examples
    --------
    >>> key_of("http-key.press-7.54834cfe.e3b0c442"), key_of("press.top.1.00000000")
    ('http-key.press-7.54834cfe', None)
    """
    return frame_id.rpartition(".")[0] if frame_id.startswith(f"{KEYED}.") else None


def is_of_client(client: str, frame_id: str) -> bool:
    """Return True if the id of a frame is one of a client's.

    Examples
    --------
    >>> is_of_client("press-7", "http.press-7--pc4--0.60a24181e4000.00000012")
    True
    >>> is_of_client("press-7", "http-key.press-7.14a2eb")
    True
    >>> is_of_client("press", "http.press-7--pc4--0.60a24181e4000.00000012")
    False
    """
    first, _, rest = frame_id.partition(".")
    name = rest.partition(".")[0]
    return name == client if first == KEYED else name.startswith(f"{client}--")
