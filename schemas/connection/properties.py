"""Properties file: one ``key=value`` a line, ``#`` comments; a backslash at the end continues a line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import SettingsError
from schemas.text import shown

#: Keys as clients of Kafka have them. A piece of a private key that lost its place does not look so.
_KEY = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)+")


@dataclass(frozen=True, slots=True)
class Property:
    """Line of a properties file; the value may be secret. Line 0 is a value from elsewhere."""

    path: Path
    line: int
    key: str
    value: str = field(repr=False)

    def refusal(self, why: str) -> SettingsError:
        """Return the error for this line."""
        key = self.key if _KEY.fullmatch(self.key) else "a key that is not shown"
        # Not "key: why": the masking of secrets would take the reason for a password.
        line = f", line {self.line}" if self.line else ""
        return SettingsError(f"{shown(self.path)}{line} ({key}): {why}")


def parse_properties(text: str, path: Path) -> Iterator[Property]:
    r"""Yield the properties of a text.

    Parameters
    ----------
    path
        File, for errors.

    Raises
    ------
    SettingsError
        If a line has no ``=``.

    Examples
    --------
    >>> for each in parse_properties("# plant\nsasl.username = press\\\n  -1\n", Path("c.properties")):
    ...     print(each.line, each.key, each.value)
    2 sasl.username press-1
    """
    # Not `splitlines`: a password may have one of the other signs that end a line for Unicode.
    lines = enumerate(io.StringIO(text, newline=None), 1)
    for number, line in lines:
        whole = line.strip()
        if not whole or whole.startswith("#"):
            continue
        while _continues(whole):
            whole = whole[:-1] + next(lines, (0, ""))[1].strip()
        key, found, value = whole.partition("=")
        entry = Property(path, number, key.strip(), value.strip())
        if not found:
            raise Property(path, number, "", "").refusal("it is not key=value")
        yield entry


def _continues(line: str) -> bool:
    """Return True if a line ends with an odd number of backslashes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1
