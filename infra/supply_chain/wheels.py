"""Locks of Python packages, as ``uv pip compile --generate-hashes`` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ROW = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))?(?= --hash|$)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """Package of a lock.

    Parameters
    ----------
    marker
        Systems and versions of Python that need it; empty: all.
    sha256
        Hashes of its files: a wheel for each system, or a source archive.
    """

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]


def read_lock(text: str) -> Iterator[LockedPackage]:
    """Yield the packages of a lock.

    Raises
    ------
    ValueError
        If a line is not a package with hashes.

    Examples
    --------
    >>> [found] = read_lock("numpy==2.3.0 ; python_version >= '3.11' \\\\\\n    --hash=sha256:" + "0" * 64)
    >>> found.name, found.version, found.marker, len(found.sha256)
    ('numpy', '2.3.0', "python_version >= '3.11'", 1)
    """
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip() and not line.startswith("#"):
            row = re.sub(r"\s*(--hash=)", r" \1", line)
            found, hashes = _ROW.match(row), _HASH.findall(row)
            if found is None or not hashes:
                raise ValueError(f"not a package with hashes: {line[:80]}")
            yield LockedPackage(found["name"], found["version"], found["marker"] or "", tuple(hashes))
