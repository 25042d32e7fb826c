"""What a broker that ended had to say."""

from __future__ import annotations

from pathlib import Path

_LINES = 8


def size(path: Path) -> int:
    """Bytes in a file, 0 without one: what `log_tail` is to leave out as said by an earlier broker."""
    return path.stat().st_size if path.exists() else 0


def log_tail(log: Path, output: Path, since: int) -> str:
    """Last telling lines of the log after byte ``since``, and of what the JVM itself printed.

    The JVM's lines are taken as they are: it says "Error occurred during initialization" on one and why on the next.
    """
    lines = [line for line in _read(log, since) if "ERROR" in line or "Exception" in line] or _read(log, since)
    return "\n".join([*lines[-_LINES:], *_read(output, 0)[-_LINES:]])


def _read(path: Path, since: int) -> list[str]:
    # Smaller than before: it was rolled over in between, and all of it is new.
    start = since if size(path) >= since else 0
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(start)
        return file.read().decode("utf-8", errors="replace").splitlines()
