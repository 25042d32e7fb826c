"""A camera that starts on a full disk goes on, says so, and has its spool as soon as there is room."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from infra.demo.processes import inspection_command
from producers.spool import LazySpool, Spool, SpooledFrame, SpoolInUse, SpoolMisplaced, SpoolOptions
from schemas import KafkaSettings

_NAMESPACE = ["unshare", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o size=4m none "$0" && dd if=/dev/zero of="$0/fill" bs=4096 2>/dev/null; exec "$@"'


def on_a_full_disk(directory: Path, command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that alone sees a full tmpfs of 4 MiB at the directory."""
    if shutil.which("unshare") is None or subprocess.run([*_NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("this system lets us mount no tmpfs")
    directory.mkdir()
    return subprocess.run(
        [*_NAMESPACE, "sh", "-c", _MOUNT, str(directory), *command], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def program(directory: Path, body: str) -> list[str]:
    begin = f"""
    import logging, sys, time
    from pathlib import Path
    import numpy as np
    from producers import *
    from producers.spool import *
    from schemas import KafkaSettings
    directory = Path({str(directory)!r})
    options = SpoolOptions(directory=directory / "spool", unreachable_after_ms=100)
    identity = CameraIdentity("l", "press", "top")
    path = spool_path(options.directory, "inspection", identity)
    logging.basicConfig(level=logging.WARNING)

    def publish(publisher, count):
        for number in range(count):
            publisher.publish(Capture(image=np.full((60, 80), number, np.uint8)))
            time.sleep(0.02)
    """
    return [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(body)]


@pytest.mark.long
@pytest.mark.faults
def test_the_camera_goes_on_and_the_spool_comes_later(
    tmp_path: Path, repository: Path, fault_row: Callable[..., None]
) -> None:
    done = on_a_full_disk(tmp_path / "disk", program(tmp_path / "disk", """
    with FramePublisher(KafkaSettings("127.0.0.1:9"), identity, spool=options) as publisher:
        publish(publisher, 100)
        before = publisher.stats()
        try:
            FramePublisher(KafkaSettings("127.0.0.1:9"), identity, spool=options)
        except SpoolInUse:
            print("refused")
        (directory / "fill").unlink()
        time.sleep(4)
        publish(publisher, 30)
        after = publisher.close()
    print(before.dropped_by_reason.get("spool-unwritable"), before.spooled)
    print(after.captured, after.dropped, after.dropped_by_reason.get("spool-unwritable"), after.spooled, after.failed)
    print(read_counts(path).frames)
    """), repository)  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, before, after, held = done.stdout.splitlines()
    assert refused == "refused"
    unwritable, spooled = map(int, before.split())
    assert unwritable >= 30
    assert spooled == 0
    captured, dropped, unwritable, spooled, failed = map(int, after.split())
    assert (captured, dropped, failed) == (130, unwritable, 0)
    assert captured == dropped + spooled
    assert spooled >= 30
    assert int(held) == spooled
    assert done.stderr.count("the camera goes on without it") == 1
    assert "is open now" in done.stderr
    fault_row("spool: disk full at the start, room later", frames=captured, drops=dropped)


@pytest.mark.faults
def test_an_earlier_spool_on_a_full_disk_is_kept(tmp_path: Path, repository: Path) -> None:
    done = on_a_full_disk(tmp_path / "disk", program(tmp_path / "disk", """
    (directory / "fill").unlink()
    earlier = Spool(path, options)
    for number in range(20):
        earlier.append(SpooledFrame(1, number, "{}", bytes(50_000)))
    earlier.close()
    with (directory / "fill").open("wb", buffering=0) as fill:
        try:
            while fill.write(bytes(4096)):
                pass
        except OSError:
            pass
    spool = LazySpool(path, options, retry_s=0.1)
    print(spool.frames)
    (directory / "fill").unlink()
    time.sleep(1)
    print(spool.frames, len(spool.oldest(100)))
    spool.close()
    """), repository)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["20", "20", "20"]  # opened with the room of its reserve


@pytest.mark.broker
def test_produce_on_a_full_disk_publishes(line: KafkaSettings, tmp_path: Path, repository: Path) -> None:
    disk = tmp_path / "disk"
    done = on_a_full_disk(disk, inspection_command(
        "produce", "--camera", "synthetic", "--frames", "10", "--json", "--spool-dir", str(disk / "spool"),
        "--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix,
    ), repository)  # fmt: skip
    assert done.returncode == 0, done.stderr
    [camera] = json.loads(done.stdout)["cameras"]
    assert (camera["captured"], camera["published"]) == (10, 10)
    assert "the camera goes on without it" in done.stderr


def test_it_is_a_spool_where_the_disk_has_room(tmp_path: Path) -> None:
    path = tmp_path / "inspection" / "press.top.spool"
    with closing(LazySpool(path, SpoolOptions(sync="normal"))) as spool:
        spool.append(SpooledFrame(1, 0, "{}", b"frame"))
        assert spool.count_of(1) == spool.counts.frames == 1
        with pytest.raises(SpoolInUse):
            LazySpool(path, SpoolOptions())
    with closing(Spool(path, SpoolOptions(sync="normal"))) as spool, pytest.raises(SpoolInUse):
        LazySpool(path, SpoolOptions())


def test_a_directory_that_is_none_is_a_mistake_of_set_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolMisplaced, match="cannot be made"):
        LazySpool(tmp_path / "file" / "a.b.spool", SpoolOptions())
