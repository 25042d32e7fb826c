"""File of frames in hand: the next process knows the frames that were in hand when a process died."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.private_files import lock_private
from transport.quarantine import DEADLY, Quarantine, Stage, key_of
from transport.quarantine_folder import folder_of

KEY = key_of(3, 2**40, b"a frame")


def die(folder: Path, *keys: tuple[int, int, int, int], stage: Stage = Stage.IMAGE, hangs: bool = False) -> None:
    """Leave a file as a killed process does."""
    dead = Quarantine(folder)
    for key in keys:
        slot = dead.enter(key, stage)
        if hangs and slot is not None:
            dead._since[slot] = -1e9, True
    if hangs:
        dead.hung()
    dead.abandon()


def test_deaths_are_counted_by_message_and_what_is_answered_is_forgotten(tmp_path: Path) -> None:
    other = key_of(3, 2**40, b"another topic of that name")
    for deaths in (1, 2, 3):
        die(tmp_path, KEY)
        quarantine = Quarantine(tmp_path)
        found = quarantine.suspect(KEY)
        assert found is not None
        assert (found.deaths, found.stage) == (deaths, Stage.IMAGE)
        assert quarantine.suspect(other) is None
        quarantine.close()
    quarantine = Quarantine(tmp_path)
    quarantine.clear(KEY)
    assert not Quarantine(tmp_path).has_suspects


def test_a_process_that_ends_properly_leaves_nothing(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    quarantine.leave(quarantine.enter(KEY, Stage.RECORD))
    quarantine.close()
    assert list(tmp_path.glob("*.hand")) == []
    assert not Quarantine(tmp_path).has_suspects


def test_a_process_that_is_really_killed_leaves_what_it_had_in_hand(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from transport.quarantine import Quarantine, Stage, key_of
quarantine = Quarantine(Path({str(tmp_path)!r}))
quarantine.leave(quarantine.enter(key_of(0, 1, b"answered"), Stage.IMAGE))
quarantine.enter(key_of(0, 2, b"in hand"), Stage.RECORD)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    quarantine = Quarantine(tmp_path)
    assert quarantine.suspect(key_of(0, 1, b"answered")) is None
    found = quarantine.suspect(key_of(0, 2, b"in hand"))
    assert found is not None
    assert (found.deaths, found.stage) == (1, Stage.RECORD)


def test_a_full_disk_loses_no_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    die(tmp_path, KEY)

    def fill(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("transport.quarantine.replace_private", fill)
        full = Quarantine(tmp_path)
        assert full.deaths.are_due()
        assert full.suspect(KEY) is not None
        full.enter(KEY, Stage.IMAGE)
        full.abandon()
    found = Quarantine(tmp_path).suspect(KEY)
    assert found is not None
    assert found.deaths == 2


def test_files_of_living_processes_are_left_alone(tmp_path: Path) -> None:
    living, other = Quarantine(tmp_path), Quarantine(tmp_path)
    living.enter(KEY, Stage.IMAGE)
    other.look()
    assert not other.has_suspects
    living.abandon()
    other.look()
    assert other.suspect(KEY) is not None


def test_a_lock_that_a_stopped_process_holds_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transport.quarantine._LOCKED_S", 0.2)
    quarantine = Quarantine(tmp_path)
    lock = lock_private(tmp_path / "suspects.lock")
    assert lock is not None
    with lock:
        quarantine.look()
        assert "another process has held suspects.lock" in caplog.text
        assert Quarantine(tmp_path).enter(KEY, Stage.IMAGE) is None  # a worker that starts now keeps no list
    assert Quarantine(tmp_path).enter(KEY, Stage.IMAGE) is not None


def test_what_one_process_learns_the_others_know_at_their_next_look(tmp_path: Path) -> None:
    die(tmp_path, KEY)
    one, two = Quarantine(tmp_path), Quarantine(tmp_path)
    one.convict(KEY)
    two.look()
    found = two.suspect(KEY)
    assert found is not None
    assert found.deaths == DEADLY


def test_a_proven_hang_counts_as_two(tmp_path: Path) -> None:
    die(tmp_path, KEY, hangs=True)
    found = Quarantine(tmp_path).suspect(KEY)
    assert found is not None
    assert found.deaths == DEADLY


def test_of_several_in_hand_together_none_is_known_to_hang(tmp_path: Path) -> None:
    dead = Quarantine(tmp_path)
    slot = dead.enter(KEY, Stage.IMAGE, is_alone=False)
    assert slot is not None
    dead._since[slot] = -1e9, False
    dead.hung()
    dead.abandon()
    found = Quarantine(tmp_path).suspect(KEY)
    assert found is not None
    assert found.deaths == 1


def test_of_those_that_wait_for_one_that_hangs_none_is_condemned(tmp_path: Path) -> None:
    others = [key_of(0, number, b"waits for memory") for number in range(3)]
    dead = Quarantine(tmp_path)
    for since_s, key in enumerate([KEY, *others]):
        slot = dead.enter(key, Stage.IMAGE)
        assert slot is not None
        dead._since[slot] = -1e9 + since_s, True
    dead.hung()
    dead.abandon()
    suspects = Quarantine(tmp_path)
    deaths = [found.deaths for key in (KEY, *others) if (found := suspects.suspect(key)) is not None]
    assert deaths == [DEADLY, 1, 1, 1]


def test_more_in_hand_than_slots_is_no_fault(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    slots = [quarantine.enter(key_of(0, number, b""), Stage.IMAGE) for number in range(1_100)]
    assert slots[-1] is None
    for slot in slots:
        quarantine.leave(slot)
    quarantine.close()
    assert not Quarantine(tmp_path).has_suspects


def test_files_are_for_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "worker" / "group"
    quarantine = Quarantine(folder)
    quarantine.enter(KEY, Stage.IMAGE)
    quarantine.abandon()
    Quarantine(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"inspection-hand2" + bytes(9_000), b"inspection-hand1".ljust(32, b"\0") + b"\xff" * 5_000],
    ids=["empty", "garbage", "another version", "slots of ones"],
)
def test_a_file_that_cannot_be_read_is_removed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.hand"
    path.write_bytes(content)
    assert not Quarantine(tmp_path).has_suspects
    assert not path.exists()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 200), bit=st.integers(0, 7))
def test_flipped_bits_make_no_other_suspect(tmp_path: Path, at: int, bit: int) -> None:
    folder = tmp_path / os.urandom(8).hex()
    die(folder, KEY)
    [path] = folder.glob("*.hand")
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)
    assert set(Quarantine(folder)._suspects) <= {KEY}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "[1]", '[{"partition": Infinity}]', '{"a": 1}', json.dumps([{"partition": "x"}]), "null"],
)
def test_suspects_that_cannot_be_read_count_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "suspects.json").write_text(text)
    die(tmp_path, KEY)
    assert set(Quarantine(tmp_path)._suspects) == {KEY}


def test_suspects_are_bounded(tmp_path: Path) -> None:
    for first in range(0, 3_000, 1_000):
        die(tmp_path, *(key_of(0, first + number, b"") for number in range(1_000)))
    quarantine = Quarantine(tmp_path)
    quarantine.close()
    assert len(Quarantine(tmp_path)._suspects) == 1_000


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder, victim = tmp_path / "group", tmp_path / "victim"
    folder.mkdir(mode=0o700)
    victim.write_text("keep")
    (folder / "suspects.lock").symlink_to(victim)
    (folder / "a.hand").symlink_to(victim)
    quarantine = Quarantine(folder)
    assert quarantine.enter(KEY, Stage.IMAGE) is None
    assert victim.read_text() == "keep"


@pytest.mark.parametrize("reason", ["a file is in the way", "others may write"])
def test_without_a_folder_the_worker_runs_without(
    tmp_path: Path, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "file" / "worker"
    if reason == "a file is in the way":
        (tmp_path / "file").write_text("")
    else:
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    quarantine = Quarantine(folder)
    quarantine.leave(quarantine.enter(KEY, Stage.RECORD))
    quarantine.look()
    quarantine.hung()
    quarantine.close()
    assert len(caplog.records) == 1
    assert "--state-dir" in caplog.text


def test_groups_and_topics_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = {
        folder_of(group, topic, tmp_path)
        for group, topic in [("a", "b"), ("a/..", "b"), ("..", "b"), ("a", "b" * 300), ("a b", ""), ("a", "b" * 301)]
    }
    assert len(folders) == 6
    assert {folder.parent for folder in folders} == {tmp_path / "worker"}
    assert all(len(folder.name) < 255 for folder in folders)
