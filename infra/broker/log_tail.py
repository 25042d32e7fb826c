"""Last lines of the log of a broker that has ended."""

from __future__ import annotations

from pathlib import Path

_LINES = 8


def size(path: Path) -> int:
    """Return the size of a file in bytes, 0 if there is no file.

    Before a start, this is the part of the log that earlier brokers wrote. `log_tail` leaves it out.
    """
    return path.stat().st_size if path.exists() else 0


def log_tail(log: Path, output: Path, since: int) -> str:
    """Return the last lines with errors in the log after byte ``since``, and the last lines that the JVM printed.

    The JVM's lines are not filtered: it prints "Error occurred during initialization" on one line, and the reason on
    the next.
    """
    lines = [line for line in _read(log, since) if "ERROR" in line or "Exception" in line] or _read(log, since)
    return "\n".join([*lines[-_LINES:], *_read(output, 0)[-_LINES:]])


def _read(path: Path, since: int) -> list[str]:
    # If the file is smaller than before, it was rolled over in between, and all of it is new.
    start = since if size(path) >= since else 0
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(start)
        return file.read().decode("utf-8", errors="replace").splitlines()
