"""Wall clock of a program that a test sets, without the clock of the machine."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """Wall clock of the processes that have `variables` in their environment. It needs a C compiler.

    Parameters
    ----------
    folder
        Folder for the library that replaces the clock, and for the file that moves it.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler: the wall clock of a program cannot be set")
        library = folder / "wall_clock.so"
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
        self._file = folder / "wall_clock"
        self._moved_s = 0.0
        self.move(0.0)
        self.variables = {"LD_PRELOAD": str(library), "TEST_WALL_CLOCK": str(self._file)}

    def move(self, seconds: float) -> None:
        """Set the clock forward, or back by a negative number."""
        self._moved_s += seconds
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("<q", round(self._moved_s * 1e6)))
