"""YAML whose every value knows its line, so that an error can point at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Location = tuple[str | int, ...]


class YamlProblem(ValueError):
    """Text that is not the plain YAML we read; ``line`` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class LinedYaml:
    """Parsed YAML and the line of each key or item, by its path from the root."""

    data: dict[str, Any]
    lines: Mapping[Location, int]

    def line(self, location: Location) -> int:
        """Line of a value, or of the nearest thing around it that the text has.

        Examples
        --------
        >>> parse("a: 1\\nb:\\n  c: 2\\n").line(("b", "missing"))
        2
        """
        while location not in self.lines:
            location = location[:-1]
        return self.lines[location]


def parse(text: str) -> LinedYaml:
    """Parse a mapping; aliases and repeated keys are refused, because a reader would misread them.

    Raises
    ------
    YamlProblem
        With the line.

    Examples
    --------
    >>> parse("name: cells\\nlabels: [defect]\\n").lines[("labels", 0)]
    2
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise YamlProblem(1, f"not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise YamlProblem(1, "nested too deep") from error
    if not isinstance(root, yaml.MappingNode):
        raise YamlProblem(1, "expected `key: value` lines")
    lines: dict[Location, int] = {(): 1}
    _walk(root, (), lines, set())
    try:
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(mark.line + 1 if mark else 1, str(error.problem or error.context)) from error
    except ValueError as error:  # a date such as 2026-02-31
        raise YamlProblem(1, str(error)) from error
    return LinedYaml(data, lines)


def _walk(node: yaml.Node, path: Location, lines: dict[Location, int], seen: set[int]) -> None:
    if id(node) in seen:
        raise YamlProblem(lines[path], "an alias (*name): write the value out")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlProblem(line, "a key that is not a plain word")
            here = (*path, str(key.value))
            if here in lines:
                raise YamlProblem(line, f"{key.value!r} is there twice, first on line {lines[here]}")
            lines[here] = line
            _walk(value, here, lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            here = (*path, index)
            lines[here] = item.start_mark.line + 1
            _walk(item, here, lines, seen)
