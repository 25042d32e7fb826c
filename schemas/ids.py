"""Ids: the same input has the same id, on any machine, at any time."""

from __future__ import annotations

import hashlib


def frame_id(station: str, camera_id: str, started_at_us: int, sequence: int) -> str:
    """Return the name of a frame: station, camera, start of the camera, count since then.

    Examples
    --------
    >>> frame_id("press", "top", 1_700_000_000_000_000, 12)
    'press.top.60a24181e4000.00000012'
    """
    return f"{station}.{camera_id}.{started_at_us:x}.{sequence:08d}"


def decision_id(
    frame: str, image_sha256: str, model_sha256: str, recipe_revision: str, result_state: str = "COMPLETED"
) -> str:
    """Return a hash of all that a decision depends on; reprocessing a frame returns the same id.

    The decision on a frame that was not inspected (``ABORTED``, ``FAILED``) also depends on the moment, so it has an
    id of its own: the same id always means the same verdict.

    Examples
    --------
    >>> decision_id("press.top.1.00000012", "aa", "bb", "1")
    '9fac9446291dc1754be2acd5353052c9'
    """
    state = () if result_state == "COMPLETED" else (result_state,)
    return _digest(frame, image_sha256, model_sha256, recipe_revision, *state)


def drift_event_id(episode_id: str, what: int | str) -> str:
    """Return the id of an event of an episode of drift, made from the event's count or from its text.

    An event that is published again, after a restart or after a send with an unknown outcome, has the same id, so
    readers drop it.

    Examples
    --------
    >>> drift_event_id("e", 1)
    '260230b99ffb358e87c1488458bcb21c'
    >>> drift_event_id("e", 1) == drift_event_id("e", "1")
    True
    """
    return _digest(episode_id, str(what))


def label_id(
    station: str, camera_id: str, frame: str | None, part: str | None, truth: str, labelled_by: str, labelled_at_us: int
) -> str:
    """Return a hash of the fields that make a label; the same statement, entered again, is the same label.

    Examples
    --------
    >>> label_id("press", "top", None, "P-77", "NOT_OK", "ada", 1)
    'c6b6bf9072cced45a92423f14363bb46'
    >>> label_id("press", "top", "P-77", None, "NOT_OK", "ada", 1) == label_id("press", "top", None, "P-77", "NOT_OK",
    ...                                                                         "ada", 1)
    False
    """
    return _digest(station, camera_id, _present(frame), _present(part), truth, labelled_by, str(labelled_at_us))


def _present(text: str | None) -> str:
    # None and an empty text must have different ids.
    return "" if text is None else f"={text}"


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.hexdigest()[:32]
