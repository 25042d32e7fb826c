"""Row of an inspected file: the fields of its decision that depend on the bytes and the model alone.

Times, durations and ids are left out: the same files and the same model make the same rows, byte for byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.json_text import json_text
from schemas.records import Action, Decision, Defect, ResultState, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """Decision on one file.

    Parameters
    ----------
    path
        Path as the command named it; bytes that are not UTF-8 are escaped.
    failure
        Word for the reason of a failed inspection, such as ``unreadable-image``; empty if the inspection completed.
    image_sha256
        Hash of the file; empty if it could not be read.
    remarks
        Texts about an unusual image.
    """

    path: str
    verdict: Verdict
    action: Action
    result_state: ResultState
    reason: str
    failure: str = ""
    score: float | None = None
    threshold: float | None = None
    labels: dict[str, float] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
    signals: dict[str, float] = field(default_factory=dict)
    image_sha256: str = ""
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str, decision: Decision, failure: str, remarks: Sequence[str]) -> FileRow:
        """Return the row of a decision."""
        return cls(
            path=path, verdict=decision.verdict, action=decision.action, result_state=decision.result_state,
            reason=decision.reason, failure=failure, score=decision.score, threshold=decision.threshold,
            labels=decision.labels, defects=decision.defects, signals=decision.signals,
            image_sha256=decision.image_sha256, remarks=tuple(remarks),
        )  # fmt: skip

    def dumps(self) -> bytes:
        """Return the row as one line of JSON; each number is read back as it was, to the last bit."""
        values = {
            "path": self.path, "verdict": self.verdict.value, "action": self.action.value,
            "result_state": self.result_state.value, "reason": self.reason, "failure": self.failure,
            "score": self.score, "threshold": self.threshold, "labels": self.labels,
            "defects": [[each.label, each.score, list(each.box_xywh)] for each in self.defects],
            "signals": self.signals, "image_sha256": self.image_sha256, "remarks": self.remarks,
        }  # fmt: skip
        return json_text(values, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def loads(cls, line: bytes) -> FileRow:
        """Return the row of a line.

        Raises
        ------
        ValueError
            If it is not the whole line of a row.
        """
        if not line.endswith(b"\n"):
            raise ValueError("the line is not complete")
        try:
            values = json.loads(line)
            return cls(
                path=_text(values["path"]), verdict=Verdict(values["verdict"]), action=Action(values["action"]),
                result_state=ResultState(values["result_state"]), reason=_text(values["reason"]),
                failure=_text(values["failure"]), score=_number(values["score"]),
                threshold=_number(values["threshold"]), labels=_numbers(values["labels"]),
                defects=tuple(_defect(*each) for each in values["defects"]), signals=_numbers(values["signals"]),
                image_sha256=_text(values["image_sha256"]), remarks=tuple(map(_text, values["remarks"])),
            )  # fmt: skip
        except (AttributeError, KeyError, RecursionError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"the line is not a row: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _number(value: Any) -> float | None:
    if value is not None and not isinstance(value, float | int):
        raise TypeError(f"{value!r} is not a number")
    return None if value is None else float(value)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    found = {name: _number(value) for name, value in values.items()}
    return {name: math.nan if value is None else value for name, value in found.items()}


def _defect(label: Any, score: Any, box: Any) -> Defect:
    x, y, width, height = (float(side) for side in box)
    return Defect(_text(label), float(score), (x, y, width, height))
