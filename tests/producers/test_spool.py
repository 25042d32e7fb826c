"""The spool's file: what is appended is there, whatever happens to process, disk and bytes."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from infra.cli.root import app
from producers.spool import (
    Spool,
    SpooledFrame,
    SpoolFull,
    SpoolInUse,
    SpoolOptions,
    SpoolUnwritable,
    find_spools,
    read_counts,
    verify_spool,
)  # fmt: skip
from schemas.errors import SettingsError

MIB = 1024 * 1024
OPTIONS = SpoolOptions(sync="normal")


def frame(sequence: int, size: int = 100, started: int = 1) -> SpooledFrame:
    return SpooledFrame(started, sequence, '{"n":1}', bytes([sequence % 256]) * size)


def sequences(spool: Spool) -> list[int]:
    return [found.sequence for found in spool.oldest(100_000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inspection" / "press.top.spool"


def test_frames_come_back_in_the_order_of_capture_after_a_restart(path: Path) -> None:
    with closing(Spool(path, OPTIONS)) as spool:
        for sequence in (3, 1, 2):
            spool.append(frame(sequence))
        spool.append(frame(9, started=0))
        spool.append(frame(3))  # there already
    with closing(Spool(path, OPTIONS)) as spool:
        assert [found.key for found in spool.oldest(10)] == [(0, 9), (1, 1), (1, 2), (1, 3)]
        assert [found.key for found in spool.oldest(2, skip={(0, 9)})] == [(1, 1), (1, 2)]
        assert spool.oldest(1, skip={(0, 9)})[0] == frame(1)
        spool.delete([(0, 9), (1, 1)], drained=True)
        spool.delete([(1, 2)], drained=False)
        counts = spool.counts
    assert (counts.frames, counts.appended, counts.drained, counts.dropped, counts.damaged) == (1, 4, 2, 1, 0)
    assert read_counts(path) == counts
    assert [file.camera for file in find_spools(path.parent.parent)] == ["press/top"]


def test_a_full_spool_drops_the_oldest_but_none_on_its_way(path: Path) -> None:
    with closing(Spool(path, replace(OPTIONS, max_bytes=MIB))) as spool:
        for sequence in range(4):
            assert spool.append(frame(sequence, MIB // 4 - 50)) == ()
        assert spool.append(frame(4, MIB // 4 - 50), keep={(1, 0)}) == ((1, 1),)
        assert sequences(spool) == [0, 2, 3, 4]
        with pytest.raises(SpoolFull):
            spool.append(frame(5, MIB // 4), keep={(1, n) for n in range(5)})
        with pytest.raises(SpoolFull):
            spool.append(frame(6, 2 * MIB))
        assert sequences(spool) == [0, 2, 3, 4]
        assert spool.counts.dropped == 1


def test_a_full_spool_refuses_the_newest(path: Path) -> None:
    with closing(Spool(path, replace(OPTIONS, max_bytes=MIB, when_full="drop-newest"))) as spool:
        spool.append(frame(0, MIB - 100))
        with pytest.raises(SpoolFull, match="is full: 1 frames"):
            spool.append(frame(1, 200))
        assert sequences(spool) == [0]


def test_one_publisher_a_camera(path: Path) -> None:
    with closing(Spool(path, OPTIONS)), pytest.raises(SpoolInUse, match=r"in use by process \d+"):
        Spool(path, OPTIONS)
    Spool(path, OPTIONS).close()


def test_names_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    Spool(tmp_path / "inspection" / "press.top\x1b[2J.spool", OPTIONS).close()
    for command in ("status", "verify"):
        shown = CliRunner().invoke(app, ["spool", command, "--spool-dir", str(tmp_path)]).stdout
        assert r"press/top\x1b[2J:" in shown


def test_the_file_shrinks_when_it_is_empty(path: Path) -> None:
    with closing(Spool(path, OPTIONS)) as spool:
        for sequence in range(30):
            spool.append(frame(sequence, MIB))
        spool.delete([(1, n) for n in range(30)], drained=True)
    assert path.stat().st_size < 2 * MIB


class Model:
    """The same in plain Python: a dict of what must be there."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], SpooledFrame] = {}
        self.dropped = 0

    def append(self, new: SpooledFrame, limit: int) -> None:
        if new.key in self.held:
            return
        if new.size_bytes > limit:
            return
        while sum(held.size_bytes for held in self.held.values()) + new.size_bytes > limit:
            del self.held[min(self.held)]
            self.dropped += 1
        self.held[new.key] = new


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 30), st.integers(0, MIB // 2)),
        st.tuples(st.just("drain"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(operations=operations)
def test_it_holds_what_a_dict_would(operations: list[tuple[str, int, int]], tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("spool") / "a.b.spool"
    options = replace(OPTIONS, max_bytes=MIB)
    spool, model = Spool(path, options), Model()
    try:
        for what, number, size in operations:
            if what == "append":
                try:
                    spool.append(frame(number, size))
                except SpoolFull:
                    assert size > MIB - 100
                model.append(frame(number, size), MIB)
            elif what == "drain":
                taken = spool.oldest(number)
                assert taken == [model.held[key] for key in sorted(model.held)[:number]]
                spool.delete([found.key for found in taken], drained=True)
                for found in taken:
                    del model.held[found.key]
            else:
                spool.close()
                spool = Spool(path, options)
            assert spool.bytes == sum(held.size_bytes for held in model.held.values()) <= MIB
        assert spool.oldest(100) == [model.held[key] for key in sorted(model.held)]
        counts = spool.counts
        assert counts.dropped == model.dropped
        assert counts.appended == counts.frames + counts.drained + counts.dropped
    finally:
        spool.close()


def in_process(path: Path, body: str) -> list[str]:
    """Command that runs a few lines with an open spool."""
    return [
        sys.executable,
        "-c",
        "import sys\nfrom pathlib import Path\nfrom producers.spool import *\n"
        "def frame(n, size): return SpooledFrame(1, n, '{}', bytes([n % 256]) * size)\n"
        f"spool = Spool(Path({str(path)!r}), SpoolOptions())\n" + textwrap.dedent(body),
    ]


@pytest.mark.faults
@pytest.mark.parametrize("after", [1, 7, 40])
def test_kill_in_the_middle_of_appends_loses_none_that_was_confirmed(
    path: Path, after: int, repository: Path, fault_row: Callable[..., None]
) -> None:
    body = """
    for n in range(100_000):
        spool.append(frame(n, 20_000))
        print(n, flush=True)
    """
    with subprocess.Popen(in_process(path, body), stdout=subprocess.PIPE, text=True, cwd=repository) as process:
        assert process.stdout is not None
        confirmed = -1
        for line in process.stdout:
            confirmed = int(line)
            if confirmed == after:
                process.send_signal(signal.SIGKILL)
    with closing(Spool(path, OPTIONS)) as spool:
        found = spool.oldest(100_000)
    assert [f.sequence for f in found[: confirmed + 1]] == list(range(confirmed + 1))
    assert len(found) <= confirmed + 2
    assert all(f.value == bytes([f.sequence % 256]) * 20_000 for f in found)
    fault_row("spool: kill -9 in mid-append", frames=confirmed + 1, drops=0)


@pytest.mark.faults
@pytest.mark.parametrize("cut", [1, 100, 5_000, 20_000])
def test_a_torn_tail_costs_the_last_record_only(
    path: Path, cut: int, tmp_path: Path, fault_row: Callable[..., None]
) -> None:
    with closing(Spool(path, OPTIONS)) as spool:
        for sequence in range(4):  # less than what makes SQLite empty its log
            spool.append(frame(sequence, 20_000))
        # As a power cut leaves it: file and log as they are, the log's end missing.
        torn = tmp_path / "torn" / "press.top.spool"
        torn.parent.mkdir()
        log = path.with_name(path.name + "-wal").read_bytes()
        torn.write_bytes(path.read_bytes())
        torn.with_name(torn.name + "-wal").write_bytes(log[:-cut])
    with closing(Spool(torn, OPTIONS)) as spool:
        found = sequences(spool)
        assert found == list(range(len(found)))
        assert len(found) == 3
        spool.append(frame(99))
        assert sequences(spool)[-1] == 99
    fault_row(f"spool: log torn by {cut} bytes", frames=4, drops=1)


def test_a_bit_that_flipped_costs_one_frame_and_is_counted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(Spool(path, OPTIONS)) as spool:
        for sequence in range(5):
            spool.append(frame(sequence, 1_000))
    data = bytearray(path.read_bytes())
    place = data.index(bytes([2]) * 1_000)
    data[place + 500] ^= 1
    path.write_bytes(data)
    assert verify_spool(path).damaged == ((1, 2),)
    with closing(Spool(path, OPTIONS)) as spool:
        assert sequences(spool) == [0, 1, 3, 4]
        assert spool.take_losses() == 1
        assert spool.counts.damaged == 1
    assert "1 frames in the spool" in caplog.text


@pytest.mark.parametrize("garbage", [b"not a database at all" * 100, b"SQLite format 3\x00" + bytes(5000)])
def test_a_file_that_is_no_spool_is_kept_aside(path: Path, garbage: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(garbage)
    with pytest.raises(SpoolUnwritable, match="cannot be read"):
        read_counts(path)
    with closing(Spool(path, OPTIONS)) as spool:
        spool.append(frame(1))
        assert sequences(spool) == [1]
    kept = [found for found in path.parent.glob("*.damaged-*") if found.read_bytes() == garbage]
    assert len(kept) == 1


def test_what_can_be_read_of_a_damaged_file_is_rescued(path: Path) -> None:
    with closing(Spool(path, OPTIONS)) as spool:
        for sequence in range(50):
            spool.append(frame(sequence, 20_000))
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frames_in_order'").fetchone()
    data[(root - 1) * 16384 : root * 16384] = bytes(16384)  # the index is gone, the records are not
    path.write_bytes(data)
    with closing(Spool(path, OPTIONS)) as spool:
        assert sequences(spool) == list(range(50))
        assert (spool.take_losses(), spool.counts.damaged) == (0, 0)
        spool.append(frame(50))
        assert spool.counts.frames == 51


@pytest.mark.faults
def test_a_file_that_was_cut_short_costs_what_was_cut(path: Path, fault_row: Callable[..., None]) -> None:
    with closing(Spool(path, OPTIONS)) as spool:
        for sequence in range(110):
            spool.append(frame(sequence, 20_000))
        spool.delete([(1, n) for n in range(10)], drained=True)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 70_000)
    with closing(Spool(path, OPTIONS)) as spool:
        held = sequences(spool)
        counts = spool.counts
        assert spool.take_losses() == counts.damaged == 110 - 10 - counts.frames
    assert held == list(range(10, 10 + len(held)))
    assert len(held) >= 95
    assert (counts.appended, counts.drained, counts.dropped) == (110, 10, 0)
    [kept] = path.parent.glob("*.damaged-*")
    assert kept.stat().st_size == size - 70_000
    with closing(Spool(path, OPTIONS)) as spool:  # the next start has nothing to repair
        assert spool.counts == counts
        assert spool.take_losses() == 0
    fault_row("spool: file cut by 70 kB", frames=110, drops=counts.damaged)


@pytest.mark.faults
def test_a_full_disk_is_an_error_and_costs_only_what_did_not_fit(
    path: Path, repository: Path, fault_row: Callable[..., None]
) -> None:
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    stored = refused = 0
    for n in range(300):
        try:
            spool.append(frame(n, 50_000)); stored += 1
        except SpoolUnwritable as error:
            refused += 1; last = str(error)
    print(stored, refused, len(spool.oldest(1000)), last)
    """
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(in_process(path, body), capture_output=True, text=True, cwd=repository, check=True)
    stored, refused, held, reason = done.stdout.split(maxsplit=3)
    assert int(stored) >= 20
    assert int(stored) + int(refused) == 300
    assert held == stored
    assert "not writable" in reason
    with closing(Spool(path, OPTIONS)) as spool:
        assert len(sequences(spool)) == int(stored)
        spool.append(frame(999))  # with room again
    fault_row("spool: disk full", frames=300, drops=int(refused))


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnwritable, match="cannot be made"):
        Spool(tmp_path / "file" / "a.b.spool", OPTIONS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "never"},
        {"when_full": "?"},
        {"sync": "off"},
        {"order": ""},
        {"max_bytes": 5},
        {"unreachable_after_ms": 0},
    ],
)
def test_impossible_options(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        SpoolOptions(**wrong)  # type: ignore[arg-type]
