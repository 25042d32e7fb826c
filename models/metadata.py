"""Metadata that an exporter wrote into an ONNX file beside the graph: labels, task, input size, as text by key.

Ultralytics writes Python literals (``names``: ``{0: 'good', 1: 'bad'}``), others write JSON or names with commas. This
module reads all metadata as data, under limits, and ignores metadata that cannot be read.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

#: Keys under which exporters keep the labels, without signs between words. Under other keys, names count only if they
#: are those of the manifest.
_LABEL_KEYS = frozenset(
    (
        "names", "classes", "labels", "classnames", "labelnames", "id2label", "label2id", "classlabels", "categories",
        "classtoidx", "idxtoclass", "idx2label", "targetnames", "labelmap", "classlist", "vocab",
    )
)  # fmt: skip
_COUNT_KEYS = ("nc", "num_classes", "n_classes", "number_of_classes", "classes", "num_labels")
_COLOUR_KEYS = ("colour", "color", "channel_order", "color_order", "colour_order", "color_format", "color_mode")
_MAX_LITERAL = 64 * 1024
_MAX_LABELS = 10_000
#: Most characters of all values that are searched for names, and the depth of dictionaries in a value.
_MAX_READ = 256 * 1024
_MAX_DEPTH = 3
_NUMBERED = re.compile(r"(\d{1,6})\s*[:=]\s*(.+)")


class LabelList(NamedTuple):
    """Names in the order of the outputs, the key that holds them, and True if exporters keep labels under this key."""

    key: str
    labels: tuple[str, ...]
    is_usual: bool


def literal(text: str) -> Any:
    """Return the value of a JSON or Python literal; the text itself if it is neither.

    Examples
    --------
    >>> literal("{0: 'good'}"), literal('["good"]'), literal("[640, 640]"), literal("good, bad")
    ({0: 'good'}, ['good'], [640, 640], 'good, bad')
    """
    text = text.strip("\ufeff \t\r\n")
    if len(text) > _MAX_LITERAL:
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def label_lists(metadata: Mapping[str, str]) -> Iterator[LabelList]:
    """Yield all lists of names in the metadata, also those inside other values; those under usual keys come first.

    Examples
    --------
    >>> [(each.key, each.labels) for each in label_lists({"names": "{1: 'bad', 0: 'good'}"})]
    [('names', ('good', 'bad'))]
    >>> [each.labels for each in label_lists({"label2id": '{"good": 1, "bad": 0}', "classes": "2"})]
    [('bad', 'good')]
    >>> [(each.labels, each.is_usual) for each in label_lists({"to say": "good; bad", "names": "0: a|1: b"})]
    [(('a', 'b'), True), (('good', 'bad'), False)]
    """
    budget, found = _MAX_READ, []
    for name, text in sorted(metadata.items(), key=lambda pair: not _is_usual(pair[0])):
        budget -= len(text)
        if budget < 0:
            break
        found += [LabelList(key, labels, _is_usual(key)) for key, labels in _lists(name, literal(text), 0)]
    yield from sorted(found, key=lambda each: not each.is_usual)


def _is_usual(key: str) -> bool:
    return "".join(each for each in key.lower() if each.isalnum()) in _LABEL_KEYS


def _lists(key: str, value: Any, depth: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    if labels := _labels(value):
        yield key, labels
    elif isinstance(value, dict) and depth < _MAX_DEPTH:
        for name, inner in value.items():
            if isinstance(name, str):
                yield from _lists(name, inner, depth + 1)


def _labels(found: Any) -> tuple[str, ...]:
    if isinstance(found, str):
        found = _split(found)
    if isinstance(found, dict):
        found = _in_order(found)
    if not isinstance(found, list | tuple) or not 0 < len(found) <= _MAX_LABELS:
        return ()
    if all(isinstance(each, dict) for each in found):
        found = _in_order_of_ids(found)
    named = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in found]
    return tuple(named) if all(isinstance(each, str) for each in named) else ()


def _split(text: str) -> list[Any] | dict[Any, Any]:
    """Return the parts of a text that are separated in one of the usual ways, also those as in ``0: good``."""
    for separator in ("\n", ";", "|", "\t", ","):
        parts = [part.strip() for part in text.split(separator)]
        parts = [part for part in parts if part]
        if len(parts) > 1:
            numbered = [_NUMBERED.fullmatch(part) for part in parts]
            if all(numbered):
                return {match[1]: match[2] for match in numbered if match is not None}
            return parts
    return []


def _in_order_of_ids(found: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the names of categories in the order of their ids, or as they stand if not all have one."""
    ids = [_number(each.get("id")) for each in found]
    if all(each is not None for each in ids):
        found = [each for _, each in sorted(zip(ids, found, strict=True), key=lambda pair: pair[0] or 0)]
    return [each.get("name") for each in found]


def _in_order(found: dict[Any, Any]) -> list[Any]:
    """Return the values in the order of their numeric keys, or the keys in the order of their numeric values."""
    pairs = [(key, value) for key, value in found.items() if _number(key) is not None]
    if len(pairs) != len(found):
        pairs = [(value, key) for key, value in found.items() if _number(value) is not None]
    if len(pairs) != len(found):
        return []
    return [value for _, value in sorted(pairs, key=lambda pair: _number(pair[0]) or 0)]


def _number(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip().removesuffix(".0") if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


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
