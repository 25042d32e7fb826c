"""New key files on a full disk: both or none, so that the next try finds nothing in its way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.signing_keys import make_key_files
from schemas.errors import SettingsError
from tests.support.small_disks import empty, fill, mount_small_disk, unmount
from transport.public_keys import SignerRole


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    mount_small_disk(folder, 1)
    yield folder
    unmount(folder)


@pytest.mark.parametrize("free_bytes", [0, 4096], ids=["no file fits", "the private key fits"])
def test_a_full_disk_leaves_no_key(disk: Path, free_bytes: int) -> None:
    reserve = disk / "reserve"
    reserve.write_bytes(bytes(free_bytes))
    fill(disk)
    reserve.unlink()
    with pytest.raises(SettingsError, match="No space left on device"):
        make_key_files(disk, "press", SignerRole.WORKER)
    assert [path.name for path in disk.iterdir()] == ["ballast"]
    empty(disk)
    made = make_key_files(disk, "press", SignerRole.WORKER)
    assert made.private.stat().st_size > 0
    assert made.public.stat().st_size > 0
