"""The image store: whole objects or none, checked when read, and nothing outside it is ever opened."""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import ImageReference
from schemas.clock import ManualClock
from schemas.errors import SettingsError
from transport.circuit_breaker import CircuitBreaker
from transport.image_store import ImageStore, ImageStoreError

DATA = bytes(range(256)) * 100
SHA256 = hashlib.sha256(DATA).hexdigest()
HOUR_US = 3_600_000_000


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(str(tmp_path / "images"))


def put(store: ImageStore, captured_at_us: int = 0) -> ImageReference:
    return store.put("press", "top", captured_at_us, SHA256, DATA, "jpeg")


def path_of(reference: ImageReference) -> Path:
    return Path(reference.uri.removeprefix("file://"))


def test_what_is_put_is_read_from_a_directory_that_may_have_moved(store: ImageStore, tmp_path: Path) -> None:
    reference = put(store)
    assert put(store) == reference
    assert store.get(reference, SHA256) == DATA
    (tmp_path / "images").rename(tmp_path / "mounted-elsewhere")
    assert ImageStore(str(tmp_path / "mounted-elsewhere")).get(reference, SHA256) == DATA
    assert [path.name for path in (tmp_path / "mounted-elsewhere").rglob("*") if path.is_file()] == [f"{SHA256}.jpeg"]


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b"\xff" + DATA[1:], b""])
def test_an_altered_image_is_refused(store: ImageStore, data: bytes) -> None:
    reference = put(store)
    path_of(reference).write_bytes(data)
    with pytest.raises(ImageStoreError) as caught:
        store.get(reference, SHA256)
    assert caught.value.kind == "image-altered"


def test_missing_unreadable_and_absurd(store: ImageStore, tmp_path: Path) -> None:
    reference = put(store)
    path_of(reference).unlink()
    for wrong, kind in ((reference, "image-missing"), (ImageReference(reference.uri, 2**40), "image-too-large")):
        with pytest.raises(ImageStoreError) as caught:
            store.get(wrong, SHA256)
        assert caught.value.kind == kind
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageStoreError) as caught:
        put(ImageStore(str(tmp_path / "file" / "images")))
    assert caught.value.kind == "image-store-unavailable"
    with pytest.raises(SettingsError, match="nosuch"):
        ImageStore("nosuch://bucket")


def test_an_outage_has_one_line_and_one_when_it_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "transport.image_store")
    clock = ManualClock()
    away: list[bool] = []
    store = ImageStore(str(tmp_path / "images"), breaker=CircuitBreaker(5, clock=clock), on_unreachable=away.append)
    reference = put(store)
    (tmp_path / "images").rename(tmp_path / "aside")
    (tmp_path / "images").write_text("in its place")
    for reason in ("Not a directory", "did not answer a moment ago", "Not a directory"):
        with pytest.raises(ImageStoreError, match=reason) as caught:
            store.get(reference, SHA256)
        assert caught.value.kind == "image-store-unavailable"
        clock.advance(2.5)
    (tmp_path / "images").unlink()
    (tmp_path / "aside").rename(tmp_path / "images")
    clock.advance(5)
    assert store.get(reference, SHA256) == DATA
    assert store.get(reference, SHA256) == DATA
    assert away == [True, False]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "is back, after 12.5 s" in caplog.messages[1]


@pytest.mark.parametrize("is_mount_point", [True, False])
def test_images_do_not_go_below_a_volume_that_is_gone(tmp_path: Path, is_mount_point: bool) -> None:
    """A store that is a mount point is an empty folder without its volume; a store in a volume is gone."""
    clock = ManualClock()
    folder, aside = tmp_path / "images", tmp_path / "aside"
    store = ImageStore(str(folder), breaker=CircuitBreaker(5, clock=clock))
    put(store)
    folder.rename(aside)
    if is_mount_point:
        folder.mkdir()
    with pytest.raises(ImageStoreError, match="mount its volume") as caught:
        put(store, 48 * HOUR_US)
    assert caught.value.kind == "image-store-unavailable"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and aside not in path.parents] == []
    # It comes back with another inode, as a volume may that is mounted again.
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    clock.advance(5)
    assert store.get(put(store, 48 * HOUR_US), SHA256) == DATA


@given(
    st.text(max_size=80)
    | st.sampled_from(
        [
            f"file:///etc/{SHA256}.jpeg",
            f"http://127.0.0.1:9/2026-11-24/06/press.top/{SHA256}.jpeg?",
            f"1970-01-01/00/../../{SHA256}.jpeg",
            f"1970-01-01/00/press.top/../{SHA256}.jpeg",
            f"1970-01-01/00/press.top/{SHA256}.jpeg/../../secret",
            f"1970-01-01/00/press.top/{'0' * 64}.jpeg",
        ]
    )
)
def test_a_hostile_reference_opens_nothing(uri: str) -> None:
    store = ImageStore("/nowhere")
    with pytest.raises(ImageStoreError) as caught:
        store.get(ImageReference(uri, 5), SHA256)
    assert caught.value.kind == "image-outside-store"


def test_a_full_disk_leaves_no_half_object(tmp_path: Path, repository: Path) -> None:
    program = f"""
import resource
from transport.image_store import ImageStore, ImageStoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    ImageStore({str(tmp_path)!r}).put("s", "c", 0, {SHA256!r}, bytes(25_600), "png")
except ImageStoreError as error:
    print(error.kind)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=repository, check=True)
    assert done.stdout.strip() == "image-store-unavailable"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_sweep_deletes_whole_hours_and_nothing_newer(tmp_path: Path, kind: str) -> None:
    store = ImageStore(str(tmp_path) if kind == "directory" else f"memory://{tmp_path.name}")
    assert store.sweep(10**15) == []
    references = [put(store, hour * HOUR_US) for hour in (0, 1, 2, 30)]
    if kind == "directory":
        (tmp_path / "notes" / "00").mkdir(parents=True)
    assert store.sweep(2 * HOUR_US, dry_run=True) == ["1970-01-01/00", "1970-01-01/01"]
    assert store.sweep(2 * HOUR_US + HOUR_US // 2) == ["1970-01-01/00", "1970-01-01/01"]
    for reference, kept in zip(references, (False, False, True, True), strict=True):
        if kept:
            assert store.get(reference, SHA256) == DATA
        else:
            with pytest.raises(ImageStoreError, match="not in the store"):
                store.get(reference, SHA256)
