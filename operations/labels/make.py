"""Labels made from statements about parts."""

from __future__ import annotations

import re

from schemas.errors import InspectionError
from schemas.ids import label_id
from schemas.part_ids import real_part_id
from schemas.records import Label, Verdict
from schemas.text import shown

#: Maximum length of the texts of a label, in characters: of ids and names, and of the note.
MAX_NAME = 500
MAX_NOTE = 10_000
_GOOD = frozenset({"good", "ok", "pass", "functional"})
_DEFECTIVE = frozenset({"defective", "bad", "nok", "not_ok", "not ok", "ng", "fail"})
_FRAME_ID = re.compile(r"([^.]+)\.([^.]+)\.[0-9a-f]+\.\d{8,}")


class LabelError(InspectionError):
    """Statement about a part that is not a valid label."""


def parse_truth(text: str) -> Verdict:
    """Parse a truth, in the usual words for it, to OK or NOT_OK.

    Raises
    ------
    LabelError
        If the text is not one of these words.

    Examples
    --------
    >>> parse_truth("Good").value, parse_truth("NOT_OK").value, parse_truth(" nok ").value
    ('OK', 'NOT_OK', 'NOT_OK')
    """
    word = text.strip().lower()
    if word in _GOOD:
        return Verdict.OK
    if word in _DEFECTIVE:
        return Verdict.NOT_OK
    raise LabelError(f"truth {text[:40]!r}: good (ok, pass) or defective (bad, nok, not_ok, ng, fail)")


def camera_of(frame_id: str) -> tuple[str, str] | None:
    """Return the station and the camera in a frame id; None if the id is ambiguous.

    A dot in the name of a station or camera makes the id ambiguous.

    Examples
    --------
    >>> camera_of("press.top.60a24181e4000.00000012")
    ('press', 'top')
    >>> print(camera_of("hall.1.press.top.60a24181e4000.00000012"))
    None
    """
    match = _FRAME_ID.fullmatch(frame_id)
    return None if match is None else (match[1], match[2])


def make_label(
    truth: Verdict | str,
    *,
    labelled_by: str,
    labelled_at_us: int,
    frame_id: str | None = None,
    part_id: str | None = None,
    station: str | None = None,
    camera_id: str | None = None,
    defect: str | None = None,
    sampled_because: str = "",
    note: str = "",
    line: str = "",
) -> Label:
    """Create a label with an id that follows from its contents: the same label entered twice counts once.

    Parameters
    ----------
    truth
        OK or NOT_OK, or one of the words of `parse_truth`.
    labelled_at_us
        UTC µs. A later label of the same frame or part replaces an earlier one.
    part_id
        Id of the part; blanks and control signs of a barcode reader at its ends are left out, as in frames.
    station, camera_id
        May be omitted if the frame id contains them.
    sampled_because
        Reason why this part was examined: ``random`` if it was chosen blindly, else ``reject``, ``review``, ...

    Raises
    ------
    LabelError
        If something is missing, contradicts itself, or is too long.

    Examples
    --------
    >>> label = make_label("defective", frame_id="press.top.60a24181e4000.00000012", labelled_by="ada",
    ...                    labelled_at_us=1)
    >>> label.key, label.truth.value
    ('press/top', 'NOT_OK')
    """
    truth, part_id = parse_truth(truth), real_part_id(part_id)
    if not frame_id and not part_id:
        raise LabelError("frame_id or part_id: a label names a frame or a part")
    named = camera_of(frame_id) if frame_id else None
    if named is not None:
        station, camera_id = station or named[0], camera_id or named[1]
    if not station or not camera_id:
        about = f"frame_id {frame_id!r:.80}" if frame_id else f"part_id {part_id!r:.80}"
        raise LabelError(f"station and camera_id: {about} does not say which camera; name both")
    if named is not None and named != (station, camera_id):
        raise LabelError(
            f"camera_id: frame {shown(frame_id, 80)} is of {shown('/'.join(named), 80)}, "
            f"not of {shown(f'{station}/{camera_id}', 80)}"
        )
    if not labelled_by:
        raise LabelError("labelled_by: say who or what knows the truth")
    if not 0 <= labelled_at_us < 2**62:
        raise LabelError(f"labelled_at: {labelled_at_us!s:.40} µs is no time since 1970")
    if defect and truth is Verdict.OK:
        raise LabelError(f"defect {defect[:40]!r}: a good part has none")
    texts = {
        "frame_id": frame_id, "part_id": part_id, "station": station, "camera_id": camera_id, "defect": defect,
        "labelled_by": labelled_by, "sampled_because": sampled_because, "line": line, "note": note,
    }  # fmt: skip
    for name, text in texts.items():
        limit = MAX_NOTE if name == "note" else MAX_NAME
        if text and (len(text) > limit or any("\ud800" <= sign <= "\udfff" for sign in text)):
            raise LabelError(f"{name}: more than {limit} characters, or characters that UTF-8 does not have")
    frame_id = frame_id or None
    return Label(
        label_id=label_id(station, camera_id, frame_id, part_id, truth.value, labelled_by, labelled_at_us),
        line=line,
        station=station,
        camera_id=camera_id,
        frame_id=frame_id,
        part_id=part_id,
        truth=truth,
        defect=defect or None,
        labelled_at_us=labelled_at_us,
        labelled_by=labelled_by,
        sampled_because=sampled_because,
        note=note,
    )
