"""File systems of some MiB in memory, which a test fills."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

_CHUNK = bytes(1 << 20)
#: Name of the file that takes the room. Kafka ignores files in its folder of logs.
_BALLAST = "ballast"


def mount_small_disk(folder: Path, mib: int) -> None:
    """Mount a file system of some MiB on a new folder; skip the test where that is not allowed."""
    folder.mkdir(mode=0o700, parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no program mount")
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here (root may): {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    """Unmount it, also while a process still has files open in it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write until no byte is left."""
    with (folder / _BALLAST).open("ab", buffering=0) as file:
        for chunk in (_CHUNK, _CHUNK[:4096]):
            try:
                while True:
                    file.write(chunk)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    assert os.statvfs(folder).f_bavail < 2


def empty(folder: Path) -> None:
    """Remove what `fill` has written."""
    (folder / _BALLAST).unlink()
