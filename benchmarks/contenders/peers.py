"""``python -m benchmarks.contenders.peers``: make the virtual environment of the peers, once.

Quix Streams needs an older confluent-kafka than our worker, so the peers of ``peers.txt`` have a separate environment.
It is installed from ``infra/locks/peers.lock``, which has the worker's versions of NumPy, OpenCV and ONNX Runtime.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.output import FOLDER, progress

_HOME = FOLDER / "peers-venv"
_PINS = Path(__file__).with_name("peers.txt")
_LOCK = Path("infra/locks/peers.lock")


def python() -> str:
    """Return the path of the interpreter in the peers' environment, even if it does not exist yet."""
    return str(_HOME.absolute() / "bin" / "python")


def ensure() -> None:
    """Make the environment, or make it again if the lock has changed (about 20 s).

    Raises
    ------
    subprocess.CalledProcessError
        If the packages cannot be installed; pip has printed the reason.
    """
    wanted = _LOCK.read_text(encoding="utf-8")
    stamp = _HOME / "installed.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    progress(f"installing the peers into {_HOME}")
    venv.create(_HOME, with_pip=True, clear=True)
    pip = [python(), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--require-hashes", "-r", str(_LOCK)], check=True, stdout=sys.stderr)
    subprocess.run([*pip, "check"], check=True, stdout=sys.stderr)
    stamp.write_text(wanted, encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the pinned versions by package name."""
    lines = _PINS.read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {f"{name.split('[')[0]} (peers)": version for name, version in pins}


if __name__ == "__main__":
    ensure()
