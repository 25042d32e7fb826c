"""Answers of a person about a model, as texts of options, and the questions that are still open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.input_spec import MAX_SIDE
from models.input_text import parse_roi, parse_samples, parse_tiles
from schemas.errors import SettingsError

_IMAGENET = (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """Fact that the file does not state: the option that supplies it, and the question in one line."""

    option: str
    text: str

    @property
    def line(self) -> str:
        """Question with its option."""
        return f"--{self.option.replace('_', '-')}: {self.text}"


class DraftAnswers:
    """Answers by the name of their option, with ``_`` for ``-``; reads them, and collects the open questions.

    Examples
    --------
    >>> answers = DraftAnswers({"scale": "1/255", "size": "320x240"})
    >>> answers.wh(), round(answers.normalisation(3)[0], 4)
    ((320, 240), 0.0039)
    >>> answers.choice("colour", ("rgb", "bgr"), "order of colours")
    >>> [question.line for question in answers.open]
    ['--colour: order of colours (rgb or bgr)']
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.open: list[OpenQuestion] = []

    def get(self, option: str) -> str | None:
        """Return an answer, or None if the option is not given."""
        return self._given.get(option)

    def ask(self, option: str, text: str) -> None:
        """Note an open question, once."""
        question = OpenQuestion(option, text)
        if question.option not in {each.option for each in self.open}:
            self.open.append(question)

    def choice(self, option: str, choices: tuple[str, ...], text: str) -> str | None:
        """Return an answer that is one of the choices; without an answer, note the question."""
        words = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
        answer = self.get(option)
        if answer is None:
            self.ask(option, f"{text} ({words})")
        elif answer not in choices:
            raise _refused(option, answer, words)
        return answer

    def text(self, option: str, text: str) -> str:
        """Return an answer in words; without an answer, note the question."""
        answer = self.get(option)
        if answer is None:
            self.ask(option, text)
        elif not answer.strip():
            raise _refused(option, answer, "a text")
        return answer or ""

    def share(self, option: str, text: str) -> float | None:
        """Return an answer from 0 to 1; without an answer, note the question."""
        answer = self.get(option)
        if answer is None:
            self.ask(option, text)
            return None
        return _within(option, _number(option, answer))

    def numbers(self, option: str, count: int) -> tuple[float, ...] | None:
        """Return some numbers, separated by commas."""
        answer = self.get(option)
        if answer is None:
            return None
        found = tuple(_number(option, part) for part in answer.split(","))
        if len(found) != count:
            raise _refused(option, answer, "one number" if count == 1 else f"{count} numbers, separated by commas")
        return found

    def wh(self) -> tuple[int, int] | None:
        """Return the answer about the size."""
        answer = self.get("size")
        if answer is None:
            return None
        sides = answer.lower().split("x")
        if len(sides) != 2 or not all(
            side.isascii() and side.isdigit() and len(side) < 9 and 0 < int(side) <= MAX_SIDE for side in sides
        ):
            raise _refused("size", answer, f"WIDTHxHEIGHT, such as 640x480, with at most {MAX_SIDE} each")
        return int(sides[0]), int(sides[1])

    def region(self) -> dict[str, Any]:
        """Return the fields of the input that state which part of a frame is inspected."""
        roi, tiles, overlap = self.get("roi"), self.get("tiles"), self.numbers("tile_overlap", 1)
        if overlap is not None and tiles is None:
            raise SettingsError("--tile-overlap is for --tiles")
        found = {} if roi is None else {"roi": parse_roi(roi).model_dump(mode="json", exclude_none=True)}
        if tiles is not None:
            parsed = parse_tiles(tiles, overlap[0] if overlap else 0.0)
            found["tiles"] = parsed.model_dump(mode="json", exclude_none=True)
        return found

    def samples(self) -> dict[str, Any]:
        """Return the fields of the input that state the form of the camera's samples."""
        depth = self.numbers("bit_depth", 1)
        if depth is not None and not depth[0].is_integer():
            raise _refused("bit_depth", str(self.get("bit_depth")), "a whole number from 9 to 16")
        found = parse_samples(
            None if depth is None else int(depth[0]), self.get("alignment"), self.get("window"), self.get("bayer")
        )
        return found.stated()

    def normalisation(self, channels: int) -> tuple[float, tuple[float, ...], tuple[float, ...]] | None:
        """Return scale, mean and std; the scale may be the word ``imagenet``."""
        answer = self.get("scale")
        if answer is None:
            return None
        if answer.lower() == "imagenet":
            if channels != 3:
                raise _refused("scale", answer, "a number such as 1/255, and --mean and --std: the input is grey")
            return _IMAGENET
        return (
            _number("scale", answer),
            self.numbers("mean", channels) or (),
            self.numbers("std", channels) or (),
        )

    def outputs(self) -> dict[str, str] | None:
        """Return the names of the outputs by role, from ``role=name`` with commas between."""
        answer = self.get("output")
        if answer is None:
            return None
        pairs = [part.partition("=") for part in answer.split(",")]
        if not all(role and name for role, _, name in pairs):
            raise _refused("output", answer, "ROLE=NAME, such as scores=logits")
        return {role.strip(): name.strip() for role, _, name in pairs}

    def first_class(self, known: int) -> int:
        """Return the class number of the first label: the answer, or the known one."""
        answer = self.get("first_class")
        if answer is None:
            return known
        return int(self.choice("first_class", ("0", "1"), "class number of the first label") or known)

    def label_thresholds(self) -> dict[str, float] | None:
        """Return the threshold of each label, from ``label=number`` with commas between."""
        answer = self.get("label_thresholds")
        if answer is None:
            return None
        pairs = [part.rpartition("=") for part in answer.split(",")]
        if not all(label.strip() and text for label, _, text in pairs):
            raise _refused("label_thresholds", answer, "LABEL=NUMBER, such as scratch=0.3,dent=0.7")
        return {
            label.strip(): _within("label_thresholds", _number("label_thresholds", text)) for label, _, text in pairs
        }

    def labels(self) -> list[str] | None:
        """Return the labels, separated by commas."""
        answer = self.get("labels")
        if answer is None:
            return None
        found = [part.strip() for part in answer.split(",")]
        if not all(found) or len(set(found)) != len(found):
            raise _refused("labels", answer, "different names, separated by commas")
        return found


def _number(option: str, text: str) -> float:
    """Return a number; a fraction such as 1/255 is one."""
    above, slash, below = text.partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise _refused(option, text, "a number, such as 0.5 or 1/255")
    return value


def _within(option: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise _refused(option, f"{value:g}", "a number from 0 to 1")
    return value


def _refused(option: str, answer: str, wanted: str) -> SettingsError:
    return SettingsError(f"--{option.replace('_', '-')} {answer!r}: {wanted}")
