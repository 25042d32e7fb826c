"""One flipped bit anywhere in a spool: the drain ends, sends whole frames byte for byte, and counts the others.

A fault that nobody expects ends the drain and the camera with an error.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from infra.cli.operations.spool import SpoolDamaged
from infra.cli.root import app
from producers.camera import Capture
from producers.message import Message, PublishedFrame
from producers.options import CameraIdentity
from producers.publisher import FramePublisher
from producers.runner import CameraJob, run_cameras
from producers.spool import (
    Spool,
    SpooledFrame,
    SpoolOptions,
    SpoolUnwritable,
    read_counts,
    read_starts,
    verify_spool,
    waiting_hours,
)
from producers.spool.damage import PAGE_BYTES
from producers.testing import ListCamera
from schemas import KafkaSettings
from schemas.errors import TopicMissing

IDENTITY = CameraIdentity("line", "press", "top")
OPTIONS = SpoolOptions(sync="normal")
FRAMES = [SpooledFrame(1_700_000_000_000_000, n, f'{{"frame_id":"f{n}"}}', bytes([n + 1]) * 60) for n in range(6)]
#: Bits of one run of the suite.
TRIES = 300


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inspection" / "press.top.spool"


def write_spool(path: Path) -> bytes:
    """Write the frames to a new spool, and return its file."""
    with closing(Spool(path, OPTIONS)) as spool:
        for frame in FRAMES:
            spool.append(frame)
    return path.read_bytes()


def flip(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def bits(data: bytes, rng: random.Random) -> Iterator[int]:
    """Yield bits without end: most of them in bytes that are in use, because most of the file is empty."""
    used = [at for at, byte in enumerate(data) if byte]
    while True:
        at = rng.choice(used) if rng.random() < 0.9 else rng.randrange(len(data))
        yield 8 * at + rng.randrange(8)


def drain(spool: Spool) -> list[SpooledFrame]:
    """Take frames as a sender does, and return them; a step without progress may not come twice."""
    sent: list[SpooledFrame] = []
    for _ in range(4 * len(FRAMES)):
        frames = spool.oldest(2)
        spool.delete([frame.key for frame in frames], drained=True)
        sent += frames
        if not spool.frames:
            return sent
    raise AssertionError(f"the drain does not end: {len(sent)} sent, {spool.frames} left")


def check(path: Path, data: bytes, bit: int) -> int:
    """Drain a spool with one flipped bit, and return the number of frames that were lost."""
    for old in path.parent.glob("*"):
        old.unlink()
    path.write_bytes(flip(data, bit))
    for read in (read_counts, read_starts, verify_spool):
        with suppress(SpoolUnwritable):
            read(path)
    with closing(Spool(path, OPTIONS)) as spool:
        sent = drain(spool)
        losses = spool.take_losses()
        assert spool.counts.frames == 0
    assert all(frame in FRAMES for frame in sent)
    missing = len(FRAMES) - len({frame.key for frame in sent})
    assert losses == missing
    return missing


@pytest.mark.faults
def test_one_bit_costs_at_most_its_frame(path: Path, fault_row: Callable[..., None]) -> None:
    data = write_spool(path)
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frames'").fetchone()
    # The header of a page says where the frames of the page are.
    page_header = range((root - 1) * PAGE_BYTES, (root - 1) * PAGE_BYTES + 8)
    chosen = bits(data, random.Random(1))
    drops = 0
    for _ in range(TRIES):
        bit = next(chosen)
        try:
            lost = check(path, data, bit)
            assert lost <= (len(FRAMES) if bit // 8 in page_header else 1)
        except BaseException as error:
            error.add_note(f"bit {bit % 8} of byte {bit // 8}")
            raise
        drops += lost
    fault_row(f"spool: one of {TRIES} bits flipped", frames=TRIES * len(FRAMES), drops=drops)


def test_the_index_leads_to_another_frame(path: Path) -> None:
    """Two records with the same place: the deletion of one must not delete the other."""
    data = write_spool(path)
    at = data.index(b'{"frame_id":"f4"}')
    place = data.rindex(b"\x05\t\x00\x06\x01\x01", 0, at)  # the place 5 and the header of the record
    assert check(path, data, 8 * place) == 0


TEXT = b'"frame_id":"f3"'


def damage_text(path: Path) -> None:
    """Flip the highest bit of one character: the text is no UTF-8 any more."""
    data = path.read_bytes()
    path.write_bytes(flip(data, 8 * (data.index(TEXT) + 3) + 7))


def test_a_text_that_is_no_utf8_is_one_damaged_frame(path: Path) -> None:
    write_spool(path)
    damage_text(path)
    assert verify_spool(path).damaged == (FRAMES[3].key,)
    assert waiting_hours(path) == set()
    with closing(Spool(path, OPTIONS)) as spool:
        assert drain(spool) == [*FRAMES[:3], *FRAMES[4:]]
        assert (spool.take_losses(), spool.counts.damaged, spool.counts.drained) == (1, 1, 5)


def store_messages(path: Path) -> None:
    frames = (PublishedFrame(f"f{n}", IDENTITY, n, 1_700_000_000_000_000, 1, 1, 1, {}) for n in range(6))
    with closing(Spool(path, OPTIONS)) as spool:
        for frame in frames:
            spool.append(SpooledFrame.of(Message(frame, 1, b"avro", None)))


def run_drain(servers: str, path: Path) -> Result:
    directory = str(path.parent.parent)
    limit = ("--timeout-s", "30")
    return CliRunner().invoke(app, ["spool", "drain", *limit, "--spool-dir", directory, "--bootstrap-servers", servers])


def test_drain_counts_a_damaged_frame_as_damaged(path: Path, mock_kafka: Callable[..., Any]) -> None:
    store_messages(path)
    damage_text(path)
    kafka = mock_kafka()
    done = run_drain(kafka.settings.bootstrap_servers, path)
    assert done.stdout.endswith("inspection press/top: 5 sent, 1 damaged and taken out, 0 left\n")
    assert done.exit_code == 0
    counts = read_counts(path)
    assert (counts.drained, counts.damaged) == (5, 1)


def fail(*_: object, **__: object) -> list[SpooledFrame]:
    raise RuntimeError("a fault of the program")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread that sends frames of the spool end by an error that nobody expects."""
    monkeypatch.setattr(Spool, "oldest", fail)


@pytest.mark.usefixtures("broken")
def test_drain_ends_if_its_thread_does(path: Path, mock_kafka: Callable[..., Any]) -> None:
    store_messages(path)
    kafka = mock_kafka()
    done = run_drain(kafka.settings.bootstrap_servers, path)
    assert "nothing is sent any more, a fault of the program: RuntimeError: a fault of the program" in done.output
    assert isinstance(done.exception, SpoolDamaged)
    assert read_counts(path).frames == 6


@pytest.mark.usefixtures("broken")
def test_a_camera_ends_if_its_sender_does(path: Path, mock_kafka: Callable[..., Any]) -> None:
    store_messages(path)
    captures = ListCamera([Capture(image=np.zeros((2, 2), np.uint8))], loop=True)
    spool = SpoolOptions(directory=path.parent.parent, sync="normal")
    with FramePublisher(mock_kafka().settings, IDENTITY, spool=spool) as publisher:
        job = CameraJob("press/top", captures, publisher, fps=100)
        (report,) = run_cameras([job])
        begin_s = time.monotonic()
        stats = publisher.close()
        assert time.monotonic() - begin_s < 6
    assert report.error is not None
    assert "nothing is sent any more" in report.error
    assert stats.captured == stats.published + stats.dropped + stats.failed + stats.spooled + stats.pending


@pytest.mark.parametrize("command", ["status", "verify", "drain"])
def test_a_folder_without_spools_is_said(tmp_path: Path, command: str) -> None:
    result = CliRunner().invoke(app, ["spool", command, "--spool-dir", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (0, f"no spool in {tmp_path}\n")


@pytest.mark.broker
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_was_drained_is_said_although_the_next_spool_cannot_be(
    line: KafkaSettings, tmp_path: Path, form: list[str]
) -> None:
    gone = f"{line.prefix}z"  # no topics, and after the other one by its name
    for prefix in (line.prefix, gone):
        store_messages(tmp_path / prefix / "press.top.spool")
    arguments = ["spool", "drain", "--spool-dir", str(tmp_path), "--bootstrap-servers", line.bootstrap_servers, *form]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, TopicMissing)
    assert done.exception.names == [f"{gone}.frames"]
    if form:
        [row] = json.loads(done.stdout)["spools"]
        assert (row["prefix"], row["sent"], row["frames"], row["error"]) == (line.prefix, 6, 0, None)
    else:
        assert done.stdout == f"{line.prefix} press/top: 6 sent, 0 left\n"
