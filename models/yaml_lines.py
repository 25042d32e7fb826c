"""Reader of YAML that records the line of each value, so that an error can name the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Location = tuple[str | int, ...]

#: Deepest nesting that is read; a manifest has four levels.
_MAX_DEPTH = 30
#: Most characters of a number.
_MAX_DIGITS = 100
_TAG = "tag:yaml.org,2002:"
#: Errors that PyYAML raises if a text with an explicit tag such as ``!!int`` is not a number or truth value.
_NO_SUCH_VALUE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class YamlProblem(ValueError):
    """Text that is not the plain YAML that we read; ``line`` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class LinedYaml:
    """Parsed YAML and the line of each key or item, by its path from the root."""

    data: dict[str, Any]
    lines: Mapping[Location, int]

    def line(self, location: Location) -> int:
        """Return the line of a value, or of the nearest key or item around it in the text.

        Examples
        --------
        >>> parse("a: 1\\nb:\\n  c: 2\\n").line(("b", "missing"))
        2
        """
        while location not in self.lines:
            location = location[:-1]
        return self.lines[location]


def parse(text: str) -> LinedYaml:
    """Parse a mapping of plain values: texts, numbers, yes and no, null, lists and mappings.

    A date stays text. Aliases, merges (``<<``), repeated keys and any other tag are refused, because a
    reader would misread them, or because a constructor would run on a text of another type.

    Raises
    ------
    YamlProblem
        With the line.

    Examples
    --------
    >>> parse("name: cells\\nlabels: [defect]\\n").lines[("labels", 0)]
    2
    >>> parse("name: cells\\nwidth: !!int wide\\n")
    Traceback (most recent call last):
    models.yaml_lines.YamlProblem: 'wide' is no int: write a plain value, without !!int
    """
    loader = None
    try:
        loader = _BoundedLoader(text)
        root = loader.get_single_node()
    except YamlProblem:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise YamlProblem(line, f"not YAML: {error.reason}") from error
    except yaml.YAMLError as error:
        raise YamlProblem(1, f"not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise YamlProblem(_line_of(loader), "nested too deep") from error
    except (OverflowError, ValueError) as error:  # an escape such as \U0011FFFF
        raise YamlProblem(_line_of(loader), "not YAML: an escape that stands for no character") from error
    if not isinstance(root, yaml.MappingNode):
        raise YamlProblem(1, "expected `key: value` lines")
    lines: dict[Location, int] = {(): 1}
    data = _value(root, (), lines, set())
    return LinedYaml(data, lines)


class _BoundedLoader(yaml.SafeLoader):
    """Loader that ends early where the text nests too deep: PyYAML's time grows with the square of the depth."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and all within it."""
        if self._depth > _MAX_DEPTH:
            raise YamlProblem(_line_of(self), f"nested too deep: over {_MAX_DEPTH} levels")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _line_of(loader: yaml.SafeLoader | None) -> int:
    return 1 if loader is None else int(loader.get_mark().line) + 1


def _value(node: yaml.Node, path: Location, lines: dict[Location, int], seen: set[int]) -> Any:
    if id(node) in seen:
        raise YamlProblem(lines[path], "an alias (*name): write the value out")
    if len(path) > _MAX_DEPTH:
        raise YamlProblem(lines[path], f"nested too deep: over {_MAX_DEPTH} levels")
    seen.add(id(node))
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        return _mapping(node, path, lines, seen)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        found = []
        for index, item in enumerate(node.value):
            lines[*path, index] = item.start_mark.line + 1
            found.append(_value(item, (*path, index), lines, seen))
        return found
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, line)
    raise YamlProblem(line, f"the tag {_short(node.tag)}: write a plain value")


def _mapping(node: yaml.MappingNode, path: Location, lines: dict[Location, int], seen: set[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEYS:
            raise YamlProblem(line, "a key that is not a plain word")
        name = _text(str(key.value), line)
        here = (*path, name)
        if here in lines:
            raise YamlProblem(line, f"{name!r} is there twice, first on line {lines[here]}")
        lines[here] = line
        found[name] = _value(value, here, lines, seen)
    return found


def _scalar(node: yaml.ScalarNode, line: int) -> Any:
    text = _text(str(node.value), line)
    if node.tag in _TEXTS:
        return text
    convert = _SCALARS.get(node.tag)
    if convert is None:
        raise YamlProblem(line, f"the tag {_short(node.tag)}: write a plain value")
    kind = node.tag.removeprefix(_TAG)
    if len(text) > _MAX_DIGITS:
        raise YamlProblem(line, f"a number of {len(text)} characters; the most is {_MAX_DIGITS}")
    try:
        return convert(_CONSTRUCTOR, node)
    except _NO_SUCH_VALUE as error:
        raise YamlProblem(line, f"{text!r} is no {kind}: write a plain value, without !!{kind}") from error


def _text(text: str, line: int) -> str:
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise YamlProblem(line, "half of a surrogate pair, which is no character")
    return text


def _short(tag: str) -> str:
    return ("!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag)[:60]


_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_TEXTS = {f"{_TAG}str", f"{_TAG}timestamp"}
_SCALARS: dict[str, Callable[[Any, yaml.ScalarNode], Any]] = {
    f"{_TAG}int": yaml.constructor.SafeConstructor.construct_yaml_int,
    f"{_TAG}float": yaml.constructor.SafeConstructor.construct_yaml_float,
    f"{_TAG}bool": yaml.constructor.SafeConstructor.construct_yaml_bool,
    f"{_TAG}null": yaml.constructor.SafeConstructor.construct_yaml_null,
}
_KEYS = _TEXTS | set(_SCALARS)
