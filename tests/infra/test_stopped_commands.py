"""Commands without a way of their own to end: a signal stops them with one line, and leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

from models.manifest_file import MANIFEST_NAME
from models.measure_reference import REFERENCE_NAME
from tests.support.packages import MakePackage, encoded, scene

HEAD = """
import importlib, os, signal, sys, time
from infra.cli import root
from infra.cli.shared import shutdown
from infra.cli.shared.shutdown import end_on_signals, exit_on_signals
# A shell starts programs in the background with SIGINT ignored, nohup with SIGHUP, and programs keep to that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
#: A function, in a module or a class of it, raises the signal after its work, in the midst of the command.
COMMAND = """
place, name, number = sys.argv[1:4]
module, _, owner = place.partition(":")
owner = getattr(importlib.import_module(module), owner) if owner else importlib.import_module(module)
real = getattr(owner, name)
def then_a_signal(*arguments, **options):
    found = real(*arguments, **options)
    signal.raise_signal(int(number))
    return found
setattr(owner, name, then_a_signal)
sys.argv = ["inspection", *sys.argv[4:]]
root.main()
"""


def run(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it in a separate process: a process that hangs is killed and fails the test."""
    command = [sys.executable, "-P", "-c", HEAD + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines on standard error; fail on a traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if line.strip()]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for number in range(60):
        (folder / f"{number:02}.png").write_bytes(encoded(scene(64, 48, seed=number)))
    return folder


def train(module: str, name: str, number: signal.Signals, good: Path, out: Path) -> subprocess.CompletedProcess[str]:
    options = ("train", "--images", good, "--out", out, "--recipe", "whole", "--overwrite")
    return run(COMMAND, module, name, str(int(number)), *options)


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        ("models.training.train", "read_images", signal.SIGINT),
        pytest.param("models.training.write_package", "measure_reference", signal.SIGHUP, marks=pytest.mark.long),
    ],
)
def test_a_stopped_training_leaves_the_earlier_package(
    module: str, name: str, number: signal.Signals, good: Path, make_package: MakePackage
) -> None:
    out = make_package()
    before, beside = content(out), sorted(os.listdir(out.parent))
    done = train(module, name, number, good, out)
    assert done.returncode == 128 + number
    assert errors(done) == [f"error: stopped by {number.name}; --out {out} is as it was"]
    assert (content(out), sorted(os.listdir(out.parent))) == (before, beside)


def test_a_stopped_training_leaves_nothing(good: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "model"
    done = train("models.training.write_package", "write_report", signal.SIGTERM, good, new)
    assert done.returncode == 143
    assert errors(done) == [f"error: stopped by SIGTERM; --out {new} was not written"]
    assert list((tmp_path / "new").iterdir()) == []


def test_a_stopped_import_ends_the_framework(good: Path, tmp_path: Path) -> None:
    python, out = tmp_path / "python", tmp_path / "out" / "model"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 0.3\nkill -TERM $PPID\nexec sleep 60\n")
    python.chmod(0o755)
    source = tmp_path / "net.keras"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
    options = ("--images", good, "--out", out, "--python", python, "--labels", "good,bad", "--threshold", "0.5")
    code = "sys.argv[0] = 'inspection'\nroot.main()\n"
    done = run(code, "model", "import", source, *options)
    assert done.returncode == 143, done.stderr
    assert errors(done) == [f"error: stopped by SIGTERM; --out {out} was not written"]
    assert content(tmp_path / "out") == {}
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("earlier", [True, False], ids=["an earlier reference", "none"])
def test_a_stopped_reference_leaves_a_package_that_loads(earlier: bool, good: Path, make_package: MakePackage) -> None:
    package = make_package()
    reference = ("model", "reference", package, "--images", good)
    if earlier:
        assert run("sys.argv[0] = 'inspection'\nroot.main()\n", *reference).returncode == 0
    before = content(package)
    for name in ("write_bytes", "replace"):
        done = run(COMMAND, "pathlib:Path", name, "15", *reference)
        assert done.returncode == 143
        assert errors(done) == ["error: stopped by SIGTERM"]
        assert content(package) == before
    assert (REFERENCE_NAME in before) == earlier
    assert MANIFEST_NAME in before


def test_a_command_in_native_code_ends_too() -> None:
    done = run(
        "import ctypes, threading\n"
        "shutdown._CLEANUP_S = 0.5\n"
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "with end_on_signals():\n    ctypes.CDLL(None).pause() or ctypes.PyDLL(None).sleep(30)\n"
    )
    assert done.returncode == 143
    assert len(errors(done)) == 1


def test_a_second_signal_ends_it_at_once() -> None:
    done = run(
        "with end_on_signals():\n"
        "    try:\n        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n        time.sleep(0.5)\n        signal.raise_signal(signal.SIGINT)\n        time.sleep(20)\n"
    )
    assert done.returncode == 130
    assert errors(done) == ["error: a second signal (SIGINT): ended at once, nothing was finished"]


def test_a_signal_while_a_library_is_loaded_is_a_stop() -> None:
    """As ONNX Runtime does while it is loaded, for a tenth of a second."""
    done = run(
        "with end_on_signals():\n"
        "    try:\n        signal.raise_signal(signal.SIGTERM)\n"
        "    except SystemExit as error:\n        raise ImportError('initialization failed') from error\n"
    )
    assert done.returncode == 143
    assert errors(done) == ["error: stopped by SIGTERM"]


def test_an_error_of_the_cleanup_is_not_hidden_by_the_stop() -> None:
    done = run(
        "with end_on_signals():\n"
        "    try:\n        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n        raise OSError('the cleanup failed')\n"
    )
    assert done.returncode == 1
    assert "OSError: the cleanup failed" in done.stderr


def test_a_command_with_a_way_of_its_own_to_end_has_its_time() -> None:
    done = run(
        "shutdown._CLEANUP_S = 0.2\n"
        "with end_on_signals(), exit_on_signals():\n"
        "    try:\n        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n        time.sleep(0.6)\n        print('cleaned up')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "cleaned up\n", "")


def test_a_signal_that_was_ignored_stays_so() -> None:
    done = run(
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with end_on_signals():\n    signal.raise_signal(signal.SIGHUP)\n"
        "print('went on', signal.set_wakeup_fd(-1))\n"
    )
    assert (done.returncode, done.stdout) == (0, "went on -1\n")
