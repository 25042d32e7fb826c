"""Folder of a new model package: it takes its place complete, or not at all.

The package is written into a hidden folder beside its place, ``.NAME.XXXX.part``, and takes its place in one step:
Linux exchanges two folders at once (``man 2 renameat2``, ``RENAME_EXCHANGE``). On file systems that cannot, the old
package is renamed to ``.NAME.XXXX.old`` first. What a killed run left is deleted or put back by the next run; the
folder of a running one is locked.
"""

from __future__ import annotations

import ctypes
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.align_spec import ALIGN_NAME
from models.manifest_file import MANIFEST_NAME
from models.measure_reference import REFERENCE_NAME
from schemas.errors import SettingsError
from schemas.plain_files import real_path
from schemas.private_files import sync_folder

MODEL_NAME, REPORT_NAME = "model.onnx", "report.html"
#: Files of a package. A folder with other files is not replaced: they would be lost.
_FILES = frozenset({MANIFEST_NAME, MODEL_NAME, REFERENCE_NAME, ALIGN_NAME, REPORT_NAME, "model.sig"})
_PART, _OLD = ".part", ".old"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse a place for a package, before the time for its training is spent.

    Raises
    ------
    SettingsError
        If it exists and is not an empty folder; with ``overwrite``, if it is not a package or has other files too; if
        it cannot be made, because a file is above it or the folder above it may not be written.
    """
    if not out.is_dir():
        if out.exists() or out.is_symlink():
            raise SettingsError(f"{out}: not a directory")
        above = next(folder for folder in out.absolute().parents if folder.exists())
        if not above.is_dir():
            raise SettingsError(f"{out}: {above} is not a directory")
        if not os.access(above, os.W_OK | os.X_OK):
            raise SettingsError(f"{out}: {above} may not be written; name another directory")
        return
    names = sorted(os.listdir(out))
    others = [name for name in names if name not in _FILES]
    if not names:
        return
    if MANIFEST_NAME not in names:
        raise SettingsError(f"{out} exists and is no model package; name a new directory")
    if not overwrite:
        raise SettingsError(f"{out} exists; name a new directory, or replace the package with --overwrite")
    if others:
        raise SettingsError(f"{out} also has {others[0]}, which --overwrite would delete; name a new directory")


@contextmanager
def new_package(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder, which becomes ``out`` at the end of the block, and is deleted if the block fails.

    Readers find the old package or the new one. On a file system that cannot exchange two folders there is neither for
    an instant.

    Raises
    ------
    OSError
        If it cannot be made or renamed.
    SettingsError
        As `check_place`.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "model"
    >>> with new_package(out, overwrite=False) as folder:
    ...     _ = (folder / "manifest.yaml").write_text("name: x")
    ...     out.exists()
    False
    >>> [path.name for path in out.parent.rglob("*")]
    ['model', 'manifest.yaml']
    """
    out = real_path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    _delete_abandoned(out)
    folder = out.with_name(f".{out.name[:100]}.{secrets.token_hex(4)}{_PART}")
    lock = -1
    try:  # a signal may raise anywhere
        folder.mkdir()
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
        _sync(folder)
        check_place(out, overwrite=overwrite)
        _put_in_place(folder, out)
    finally:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(folder: Path, out: Path) -> None:
    """Exchange the folder with the one in its place; if this fails or is stopped halfway, the old package is back."""
    if not (out.exists() and _exchange(folder, out)):
        old = folder.with_suffix(_OLD)
        try:
            if out.exists() and os.listdir(out):
                out.rename(old)
            folder.rename(out)
        finally:
            _tidy_old(old, out)
    sync_folder(out.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; return False if the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except AttributeError:  # a C library without this call
        return False
    refused: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return refused == 0


def _tidy_old(old: Path, out: Path) -> None:
    """Put an old package back if there is no other in its place, else delete it."""
    if not old.exists():
        return
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(out)


def _sync(folder: Path) -> None:
    """Flush all files to the device, so that a power cut does not leave a package of empty files."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _delete_abandoned(out: Path) -> None:
    pattern = f".{glob.escape(out.name[:100])}.????????"
    for old in out.parent.glob(pattern + _OLD):
        _tidy_old(old, out)
    for folder in out.parent.glob(pattern + _PART):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another training writes it
        finally:
            os.close(lock)
