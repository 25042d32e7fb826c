"""Metadata that an exporter wrote into an ONNX file beside the graph: labels, task, input size, as text by key.

Ultralytics writes Python literals (``names``: ``{0: 'good', 1: 'bad'}``), others write JSON or names with commas. This
module reads all metadata as data, under limits, and ignores metadata that cannot be read.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

#: Keys under which exporters keep the labels.
_LABEL_KEYS = (
    "names",
    "classes",
    "labels",
    "class_names",
    "classnames",
    "id2label",
    "label2id",
    "class_labels",
    "categories",
)
_COUNT_KEYS = ("nc", "num_classes", "n_classes", "number_of_classes", "classes", "num_labels")
_COLOUR_KEYS = ("colour", "color", "channel_order", "color_order", "colour_order", "color_format", "color_mode")
_MAX_LITERAL = 64 * 1024
_MAX_LABELS = 10_000


def literal(text: str) -> Any:
    """Return the value of a JSON or Python literal; the text itself if it is neither.

    Examples
    --------
    >>> literal("{0: 'good'}"), literal('["good"]'), literal("[640, 640]"), literal("good, bad")
    ({0: 'good'}, ['good'], [640, 640], 'good, bad')
    """
    if len(text) > _MAX_LITERAL:
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def labels_in(metadata: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    """Return the key that holds the labels, and the labels in the order of the outputs; None if there are no labels.

    Examples
    --------
    >>> labels_in({"names": "{1: 'bad', 0: 'good'}"})
    ('names', ('good', 'bad'))
    >>> labels_in({"label2id": '{"good": 1, "bad": 0}'})
    ('label2id', ('bad', 'good'))
    >>> labels_in({"classes": "good,bad"})
    ('classes', ('good', 'bad'))
    >>> labels_in({"classes": "2"}) is None
    True
    """
    by_key = {key.lower(): value for key, value in metadata.items()}
    for key in _LABEL_KEYS:
        if key in by_key and (found := _labels(literal(by_key[key]))):
            return key, found
    return None


def _labels(found: Any) -> tuple[str, ...]:
    if isinstance(found, str):
        found = [part.strip() for part in found.replace("\n", ",").split(",") if part.strip()]
        found = found if len(found) > 1 else []
    if isinstance(found, dict):
        found = _in_order(found)
    if not isinstance(found, list | tuple) or not 0 < len(found) <= _MAX_LABELS:
        return ()
    named = [each.get("name") if isinstance(each, dict) else each for each in found]
    return tuple(each for each in named if isinstance(each, str)) if all(isinstance(n, str) for n in named) else ()


def _in_order(found: dict[Any, Any]) -> list[Any]:
    """Return the values in the order of their numeric keys, or the keys in the order of their numeric values."""
    pairs = [(key, value) for key, value in found.items() if _number(key) is not None]
    if len(pairs) != len(found):
        pairs = [(value, key) for key, value in found.items() if _number(value) is not None]
    if len(pairs) != len(found):
        return []
    return [value for _, value in sorted(pairs, key=lambda pair: _number(pair[0]) or 0)]


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 7 else None


def count_in(metadata: Mapping[str, str]) -> tuple[str, int] | None:
    """Return the key that holds the number of classes, and the number.

    Examples
    --------
    >>> count_in({"nc": "3"})
    ('nc', 3)
    """
    by_key = {key.lower(): value for key, value in metadata.items()}
    for key in _COUNT_KEYS:
        found = _number(by_key.get(key, "").strip())
        if found is not None and found > 0:
            return key, found
    return None


def task_in(metadata: Mapping[str, str]) -> str:
    """Return the task in the exporter's words, in lower case.

    Examples
    --------
    >>> task_in({"task": "Detect"}), task_in({})
    ('detect', '')
    """
    return metadata.get("task", "").strip().strip("'\"").lower()[:40]


def is_finished(metadata: Mapping[str, str]) -> bool:
    """Return True if the exporter states that the graph suppresses overlapping boxes.

    Examples
    --------
    >>> is_finished({"end2end": "True"}), is_finished({"args": "{'nms': True}"}), is_finished({"end2end": "False"})
    (True, True, False)
    """
    options = literal(metadata.get("args", ""))
    given = [metadata.get("end2end"), metadata.get("nms")]
    if isinstance(options, dict):
        given += [str(options.get(name)) for name in ("nms", "end2end")]
    return any(str(value).strip().lower() in ("true", "1") for value in given)


def size_in(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the height and width that the file was exported for; None if unknown, or if any size is allowed.

    Examples
    --------
    >>> size_in({"imgsz": "[480, 640]"}), size_in({"imgsz": "640"})
    ((480, 640), (640, 640))
    >>> size_in({"imgsz": "640", "args": "{'dynamic': True}"}) is None
    True
    """
    options = literal(metadata.get("args", ""))
    if isinstance(options, dict) and options.get("dynamic") is True:
        return None
    found = literal(metadata.get("imgsz", ""))
    if isinstance(found, int) and not isinstance(found, bool):
        return found, found
    if isinstance(found, list | tuple) and len(found) == 2 and all(type(each) is int for each in found):
        return found[0], found[1]
    return None


def stride_in(metadata: Mapping[str, str]) -> int:
    """Return the number that width and height must be a multiple of; 1 if unknown.

    Examples
    --------
    >>> stride_in({"stride": "32"}), stride_in({})
    (32, 1)
    """
    return _number(metadata.get("stride", "").strip()) or 1


def colour_in(metadata: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the key that holds the order of colours, and ``rgb``, ``bgr`` or ``grey``.

    Examples
    --------
    >>> colour_in({"color_format": "BGR"})
    ('color_format', 'bgr')
    """
    words = {"rgb": "rgb", "bgr": "bgr", "gray": "grey", "grey": "grey", "grayscale": "grey", "l": "grey"}
    for key, value in metadata.items():
        if key.lower() in _COLOUR_KEYS and value.strip().lower() in words:
            return key, words[value.strip().lower()]
    return None
