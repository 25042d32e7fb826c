"""A disk that the spool itself has filled: on a real tmpfs where the test may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from producers.spool import Spool, SpooledFrame, SpoolOptions, SpoolUnwritable, read_counts

pytestmark = pytest.mark.faults

OPTIONS = SpoolOptions(sync="normal")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small tmpfs")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(spool: Spool, size: int, first: int = 0) -> int:
    """Append until the disk is full and for 50 frames more; return how many were taken."""
    taken = refused = 0
    said: set[str] = set()
    for sequence in range(first, first + 2000):
        try:
            spool.append(SpooledFrame(1, sequence, "{}", os.urandom(size)))
            taken += 1
        except SpoolUnwritable as error:
            said.add(str(error))
            spool.record_loss((1, sequence))
            refused += 1
            if refused == 50:
                assert all("full" in line for line in said)
                return taken
    raise AssertionError("the disk does not fill")


@pytest.mark.parametrize("size", [5_000, 50_000, 300_000])
@pytest.mark.parametrize("restart", [False, True])
def test_a_disk_that_the_spool_has_filled_is_emptied_again(
    small_disk: Path, size: int, restart: bool, fault_row: Callable[..., None]
) -> None:
    path = small_disk / "inspection" / "press.top.spool"
    spool = Spool(path, OPTIONS)
    try:
        dropped = sent = 0
        for round_number in range(3):
            taken = fill(spool, size, first=round_number * 10_000)
            dropped += 50
            assert taken >= 2
            if restart:
                spool.close()
                spool = Spool(path, OPTIONS)
            # As a drain does: some at a time, deleted once acknowledged.
            while frames := spool.oldest(4):
                spool.delete([frame.key for frame in frames], drained=True)
                sent += len(frames)
            counts = spool.counts
            assert (counts.frames, counts.drained, counts.dropped) == (0, sent, dropped)
        assert counts.appended == sent
    finally:
        spool.close()
    fault_row(f"spool: 4 MiB disk filled, {size / 1e3:.0f} kB frames", frames=sent + dropped, drops=dropped)


def test_a_disk_that_others_have_filled(small_disk: Path) -> None:
    path = small_disk / "inspection" / "press.top.spool"
    with closing(Spool(path, OPTIONS)) as spool:
        for sequence in range(10):
            spool.append(SpooledFrame(1, sequence, "{}", os.urandom(50_000)))
    junk = small_disk / "junk"
    with junk.open("wb", buffering=0) as other:
        try:
            while True:
                other.write(bytes(4096))
        except OSError:
            pass
    with closing(Spool(path, OPTIONS)) as spool:
        assert len(spool.oldest(100)) == 10
        spool.delete([(1, sequence) for sequence in range(10)], drained=True)
        assert spool.counts.frames == 0
    assert read_counts(path).drained == 10
