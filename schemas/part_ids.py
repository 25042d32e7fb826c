"""Texts that a device sends if it has read no part id."""

from __future__ import annotations

from collections.abc import Collection


def real_part_id(part_id: str | None, no_part_ids: Collection[str] = ()) -> str | None:
    """Return the part id, or None for a text that names no part.

    A text without a visible character never names a part. Comparison ignores case and white space at both ends, because
    barcode readers differ in both.

    Parameters
    ----------
    part_id
        Text from the camera, the barcode reader or a message.
    no_part_ids
        Texts that mean "no part id" on this line, such as ``NOREAD``.

    Examples
    --------
    >>> real_part_id("P-77", ["NOREAD"]), real_part_id("noread ", ["NOREAD"]), real_part_id(" ")
    ('P-77', None, None)
    """
    if part_id is None or not part_id.strip():
        return None
    name = _folded(part_id)
    return None if any(name == _folded(text) for text in no_part_ids) else part_id


def _folded(text: str) -> str:
    return text.strip().casefold()
