"""Files of one user: private, whole, never behind a link; every program that keeps state uses them."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from actuators.acted_log import ActedLog
from actuators.fault import Fault
from actuators.fault_store import FaultStore, PersistedFault, Reset
from actuators.watermark import Watermark
from infra.broker.config import write_config
from infra.broker.locks import try_lock
from producers.spool import Spool, SpooledFrame, SpoolOptions
from schemas.errors import SettingsError
from schemas.private_files import lock_private, make_private_folder, open_private, read_private, replace_private
from transport.image_store import ImageStore

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.fixture
def open_umask():
    """Make new files world-readable, as on most machines."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def keep_state_of_everything(folder: Path) -> None:
    """Write what each program writes into its directories."""
    store = FaultStore(folder / "gate")
    store.open()
    store.save(PersistedFault(Fault("f", 0, "reason", 3)))
    store.request(Reset("f", "eva", "looked", 1))
    acted = ActedLog(folder / "gate")
    acted.open()
    acted.add(("s", "c", "p"), 1)
    watermark = Watermark(folder / "consumer", "decisions")
    watermark.begin({0: 1})
    watermark.advance(0, 2)
    spool = Spool(folder / "spool" / "press.top.spool", SpoolOptions())
    spool.append(SpooledFrame(1, 0, "{}", b"frame"))
    write_config(folder / "broker", 1, 2)
    with try_lock(folder / "broker" / "broker.lock"):
        pass
    for each in (store, acted, watermark, spool):
        each.close()


def test_state_is_private(tmp_path: Path, open_umask: None) -> None:
    root = tmp_path / "state"
    keep_state_of_everything(root)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) >= 9
    assert {mode(path) for path in folders} == {"0o700"}
    assert {path.name: mode(path) for path in files} == {path.name: "0o600" for path in files}


def test_files_of_earlier_versions_become_private(tmp_path: Path, open_umask: None) -> None:
    lock = tmp_path / "gate.lock"
    lock.write_text("")
    assert mode(lock) == "0o644"
    store = FaultStore(tmp_path)
    store.open()
    store.close()
    assert mode(lock) == "0o600"


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("gate.lock", lambda folder: FaultStore(folder).open(patience_s=0)),
        ("gate.acted.jsonl", lambda folder: ActedLog(folder).open()),
        ("decisions.offsets.lock", lambda folder: Watermark(folder, "decisions")),
        ("decisions.offsets.json", lambda folder: Watermark(folder, "decisions")),
        ("s.c.lock", lambda folder: Spool(folder / "s.c.spool", SpoolOptions())),
        ("s.c.spool", lambda folder: Spool(folder / "s.c.spool", SpoolOptions())),
    ],
)
def test_a_link_is_refused_and_its_target_stays(tmp_path: Path, name: str, use) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / name).symlink_to(target)
    with pytest.raises(Exception, match="it is a symbolic link") as caught:
        use(folder)
    assert "\n" not in str(caught.value)
    assert target.read_text() == "precious"


def test_a_fault_behind_a_link_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"state": "RUNNING", "fault": null, "last_reset": null}')
    (tmp_path / "gate.fault.json").symlink_to(tmp_path / "other")
    loaded = FaultStore(tmp_path).load(now_us=0)
    assert not loaded.is_readable
    assert "symbolic link" in loaded.fault.reason


def test_a_scratch_file_that_is_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / ".state.json.new").symlink_to(target)
    replace_private(tmp_path / "state.json", b"{}")
    assert target.read_text() == "precious"
    assert (tmp_path / "state.json").read_text() == "{}"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_one_line(tmp_path: Path, make) -> None:
    make(tmp_path / "decisions.offsets.json")
    with pytest.raises(SettingsError):
        Watermark(tmp_path, "decisions")


@pytest.mark.parametrize("flags", [os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC])
def test_a_file_with_a_second_name_is_not_written(tmp_path: Path, open_umask: None, flags: int) -> None:
    other, path = tmp_path / "other", tmp_path / "gate.lock"
    other.write_text("kept")
    path.hardlink_to(other)
    with pytest.raises(OSError, match="a second name"):
        open_private(path, flags)
    assert (other.read_text(), mode(other)) == ("kept", "0o644")


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "acted.log")
    with pytest.raises(OSError, match=r"not a regular file|No such device"):
        open_private(tmp_path / "acted.log", os.O_WRONLY | os.O_APPEND)


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_private(path):
        assert lock_private(path) is None
    with lock_private(path) as again:
        assert again is not None


@needs_root
def test_another_user_cannot_hold_our_lock(tmp_path: Path, open_umask: None) -> None:
    # How deep the temporary folder lies depends on the number of test processes.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith("pytest-of-"):
            folder.chmod(0o755)
            break
        folder.chmod(0o755)
    shared = tmp_path / "shared"
    shared.mkdir()
    store = FaultStore(shared)
    store.open()
    store.close()
    code = f"import os; os.setuid(65534); os.open({str(shared / 'gate.lock')!r}, os.O_RDONLY)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


@needs_root
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "gate.lock").write_text("")
    (folder / "gate.lock").chmod(0o666)
    code = (
        "import os, sys; from pathlib import Path; os.setuid(65534)\n"
        "from schemas.private_files import lock_private\n"
        f"try: lock_private(Path({str(folder / 'gate.lock')!r}))\n"
        "except OSError as error: sys.exit(error.strerror)\n"
    )
    # The packages are imported before the change of the user: the new one may not read them.
    code = "import schemas.private_files\n" + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "it belongs to another user" in done.stderr


@needs_root
def test_root_leaves_files_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "gate"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    store = FaultStore(folder)
    store.open()
    store.save(PersistedFault(None))
    store.close()
    assert {path.stat().st_uid for path in folder.iterdir()} == {65534}


@pytest.mark.parametrize(("umask", "expected"), [(0o077, "0o600"), (0o022, "0o644"), (0o027, "0o640")])
def test_the_umask_holds_for_stored_images(tmp_path: Path, umask: int, expected: str) -> None:
    before = os.umask(umask)
    try:
        ImageStore(str(tmp_path / "images")).put("s", "c", 0, "ab" * 32, b"an image", "png")
    finally:
        os.umask(before)
    [path] = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    assert mode(path) == expected


def test_a_read_leaves_the_mode_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    path.chmod(0o644)
    assert read_private(path) == b"x"
    assert mode(path) == "0o644"


def test_a_child_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock_private(path)
    with subprocess.Popen(["sleep", "60"], pass_fds=[held.fileno()]) as child:
        held.close()
        assert lock_private(path) is None
        child.kill()
    with lock_private(path) as again:
        assert again is not None


def test_flags_are_those_that_were_asked_for(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    descriptor = open_private(tmp_path / "a" / "b" / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    finally:
        os.close(descriptor)


@needs_root
def test_a_user_without_a_home_folder_is_one_line(tmp_path: Path) -> None:
    code = (
        "from producers.spool.options import default_spool_dir\nfrom schemas.errors import SettingsError\n"
        "try: default_spool_dir()\nexcept SettingsError as error: print(error)"
    )
    # No user has this number.
    done = subprocess.run(
        [sys.executable, "-c", "import producers.spool.options, os; os.setuid(54321); os.environ.clear()\n" + code],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.startswith("this user has no home folder: set HOME or XDG_STATE_HOME"), done
    assert done.stdout.count("\n") == 1


def test_a_state_of_many_gib_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "decisions.offsets.json"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)
    with pytest.raises(OSError, match="64 MiB"):
        read_private(path)
    with pytest.raises(SettingsError, match="64 MiB"):
        Watermark(tmp_path, "decisions")
