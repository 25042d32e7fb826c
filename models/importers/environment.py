"""Environments of other frameworks: each is made once from a pinned lock, and kept in the user's cache folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from models.errors import ImportRefused
from schemas.private_files import make_private_folder, open_private
from schemas.user_folders import user_folder

#: Packages of a framework that a manifest names, and the space that the environment takes.
PACKAGES = {
    "tensorflow": (("tensorflow", "keras", "tf2onnx"), 2),
    "anomalib": (("anomalib", "onnxscript"), 7),
    "sklearn": (("scikit-learn", "skl2onnx"), 1),
    # The default wheels are those for GPUs.
    "torch": (("torch", "torchvision", "onnxscript"), 6),
}
#: Space for a framework that is not listed, in GB.
_OTHER_GB = 6
_INSTALL_S = 3600
_COMPLETE = "complete"


def interpreter(framework: str, lock: Path) -> Path:
    """Return the Python of a framework's environment, which is made if it does not exist.

    An environment belongs to one lock and one version of Python: a changed lock makes another.

    Raises
    ------
    ImportRefused
        If it cannot be made; the message states the cause.
    """
    folder = folder_of(framework, lock)
    python = folder / "bin" / "python"
    if not is_ready(framework, lock):
        try:
            make_private_folder(folder.parent)
            with _exclusive(folder.with_suffix(".lock")):
                if not is_ready(framework, lock):
                    _make(framework, folder, lock)
        except OSError as error:
            raise ImportRefused(f"{error.filename or folder}: {error.strerror or error}") from error
    return python


def folder_of(framework: str, lock: Path) -> Path:
    """Return the folder of an environment; it may not exist."""
    key = hashlib.sha256(lock.read_bytes() + f"{sys.version_info[:2]}".encode()).hexdigest()[:12]
    return user_folder("cache") / "import-environments" / f"{framework}-{key}"


def is_ready(framework: str, lock: Path) -> bool:
    """Return True if the environment is complete."""
    folder = folder_of(framework, lock)
    return (folder / _COMPLETE).exists() and (folder / "bin" / "python").exists()


def packages_of(framework: str) -> tuple[tuple[str, ...], int]:
    """Return the packages of a framework, and the space that its environment takes, in GB.

    Examples
    --------
    >>> packages_of("sklearn"), packages_of("another")
    ((('scikit-learn', 'skl2onnx'), 1), (('another',), 6))
    """
    return PACKAGES.get(framework, ((framework,), _OTHER_GB))


def _make(framework: str, folder: Path, lock: Path) -> None:
    needed_gb = packages_of(framework)[1]
    free_gb = shutil.disk_usage(folder.parent).free / 1e9
    if free_gb < needed_gb:
        raise ImportRefused(
            f"{folder.parent}: the environment for {framework} takes {needed_gb} GB and {free_gb:.1f} GB are free: "
            "make room, or set XDG_CACHE_HOME to another disk"
        )
    shutil.rmtree(folder, ignore_errors=True)
    _call([sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)], framework)
    python = str(folder / "bin" / "python")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    wanted = ["--quiet", "--require-hashes", "-r", str(lock)]
    if uv is not None:
        # uv reads no settings of pip, such as an index of one's own: then pip does it.
        with contextlib.suppress(ImportRefused):
            _call([uv, "pip", "install", "--python", python, *wanted], framework)
            (folder / _COMPLETE).touch()
            return
    _call(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-input", "--no-compile", *wanted], framework
    )
    (folder / _COMPLETE).touch()


def _call(command: list[str], framework: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_INSTALL_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        reason = f"not finished after {_INSTALL_S // 60} minutes"
    else:
        if done.returncode == 0:
            return
        lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")]
        reason = (errors or lines or [f"status {done.returncode}"])[-1][:300]
    packages = ", ".join(packages_of(framework)[0])
    raise ImportRefused(
        f"the environment for {framework} cannot be made: {reason}; it needs the package index once. "
        f"--python names an interpreter of yours that has {packages}"
    )


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two imports do not make one environment at the same time."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
