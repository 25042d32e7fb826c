"""Folder of a run, finished or not, for `inspection analyse` and for resuming the run.

::

    DIR/run.json            the selection and the variants; written once, at the start
    DIR/rows-000000.avro    rows of some thousand frames, and in its header the progress of the run
    DIR/finished.json       the summary; exists once the run is finished

Each file is written under another name, synced and renamed: it is whole, or does not exist.
"""

from __future__ import annotations

import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastavro.write import Writer

from replay import avro_file
from replay.past.replayed_frame import ReplayedFrame
from replay.past.selection import Selection
from replay.reinspect.rows import frame_of, parsed_row_schema
from replay.reinspect.summary import Summary
from schemas.errors import CodecError, InspectionError, SettingsError
from schemas.private_files import lock_private, sync_folder
from transport.offset_ranges import OffsetRanges, merged

FORMAT = 1
_RUN, _FINISHED, _LOCK = "run.json", "finished.json", ".lock"
_PART = re.compile(r"rows-(\d{6,})\.avro")
_PROGRESS, _CRC = "inspection.progress", "inspection.crc32"
#: Errors of our readers on bytes that are not valid rows.
_UNREADABLE: tuple[type[Exception], ...] = (CodecError, OSError, StopIteration, *avro_file.UNREADABLE)
#: Bytes read of a part to learn the progress of the run: more than any header has.
_FIRST_BYTES = 1024 * 1024
#: Maximum bytes of the rows of a part: `add` writes them as one block.
_MAX_PART_BYTES = avro_file.MAX_BLOCK_BYTES


class RunError(InspectionError):
    """Folder that is not a run, is damaged, or is of a newer version."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a run.

    Parameters
    ----------
    selection
        Selection as requested.
    effective_selection
        The same selection, with the camera and the times of an episode filled in by `ResolvedSelection`.
    topic
        Name of the frames topic.
    ranges
        Offsets that contain the selected frames, fixed when the run began.
    variants
        Variants as `LoadedVariant.described` returns them.
    versions
        Versions of the packages that affect the last bit of a score.
    """

    selection: Selection
    effective_selection: Selection
    topic: str
    ranges: OffsetRanges
    variants: tuple[dict[str, Any], ...]
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Progress of a run: the first offset of each partition still to be read, and the results so far."""

    after: Mapping[int, int]
    summary: Summary


class RunFolder:
    """Run on disk.

    Raises
    ------
    RunError
        From `open` and the reading methods: one clear line.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self._parts = _parts(path)

    @classmethod
    def create(cls, path: Path, plan: Plan) -> RunFolder:
        """Begin a run in a folder that does not exist, or is empty.

        Raises
        ------
        SettingsError
            If the folder is not empty, or cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise SettingsError(f"{path} is not empty; go on with a run by --resume, or name another folder")
            folder = cls(path, plan)
            _write(path / _RUN, json.dumps(_plan_json(plan), indent=2).encode())
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror or error}") from error
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open an existing run, finished or not."""
        try:
            values = json.loads((path / _RUN).read_bytes())
        except FileNotFoundError:
            raise RunError(f"{path} is no run of `inspection replay`: it has no {_RUN}") from None
        except OSError as error:
            raise RunError(f"{path}: {error.strerror or error}") from error
        except (RecursionError, ValueError) as error:
            raise RunError(f"{path}/{_RUN} is damaged: {error}") from error
        try:
            version = values["format"]
            if isinstance(version, int) and version > FORMAT:
                raise RunError(f"{path} is a run of format {version}; this program knows {FORMAT}: use a newer one")
            if version != FORMAT:
                raise ValueError(f"format {version!r}")
            plan = _plan_of(values)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, SettingsError) as error:
            raise RunError(f"{path}/{_RUN} is damaged: {type(error).__name__}: {error}") from error
        folder = cls(path, plan)
        if folder.is_finished:
            folder._check_whole()
        return folder

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, in the order of `ReplayedFrame.replayed`."""
        return tuple(row["name"] for row in self.plan.variants)

    @property
    def selection(self) -> Selection:
        """Selection as requested."""
        return self.plan.selection

    @property
    def is_finished(self) -> bool:
        """True if the run is finished."""
        return (self.path / _FINISHED).exists()

    def _check_whole(self) -> None:
        """Refuse a finished run without its last part, as an interrupted copy leaves it: the other parts are whole."""
        try:
            selected = int(json.loads((self.path / _FINISHED).read_bytes())["selected"])
        except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
            raise _damaged(self.path / _FINISHED, error) from error
        found = self.progress().summary.selected
        if found != selected:
            raise RunError(
                f"{self.path} is damaged: it finished with {selected} frames, and its rows end after {found}: put the "
                f"missing rows-*.avro back, or delete {_FINISHED} and go on with --resume"
            )

    def progress(self) -> RunProgress:
        """Return the progress of the run; fast for a run of any size."""
        if not self._parts:
            return RunProgress({}, Summary(self.variants))
        path = self._parts[-1]
        try:
            values = json.loads(_header(path).metadata[_PROGRESS])
            summary = Summary.from_json(values["summary"])
            if summary.names != self.variants:
                raise ValueError("other variants than the run's")
            return RunProgress({int(number): int(begin) for number, begin in values["after"].items()}, summary)
        except _UNREADABLE as error:
            raise _damaged(path, error) from error

    def frames(self) -> Iterator[ReplayedFrame]:
        """Yield all frames with a decision, part by part; each partition in the order of its offsets."""
        for path in self._parts:
            try:
                data = path.read_bytes()
                header = avro_file.read_file_header(data)
                body = data[header.size_bytes :]
                if f"{_checksum(header, body)}".encode() != header.metadata[_CRC]:
                    raise ValueError("its checksum does not match")
                writer = avro_file.written_schema(header)
                for block in avro_file.blocks(header, body):
                    for values in avro_file.records(block, writer, parsed_row_schema()):
                        yield frame_of(values)
            except _UNREADABLE as error:
                raise _damaged(path, error) from error

    def add(self, rows: list[bytes], progress: RunProgress) -> None:
        """Append a part: rows, and the progress of the run after them.

        Raises
        ------
        SettingsError
            If the part cannot be written.
        """
        data = b"".join(rows)
        state = {
            "after": {str(number): begin for number, begin in progress.after.items()},
            "summary": progress.summary.to_json(),
        }
        buffer = io.BytesIO()
        writer = Writer(
            buffer, parsed_row_schema(), metadata={_PROGRESS: json.dumps(state), _CRC: f"{zlib.crc32(data)}"}
        )
        writer.write_block(_Block(len(rows), io.BytesIO(data)))
        path = self.path / f"rows-{len(self._parts):06}.avro"
        try:
            _write(path, buffer.getvalue())
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror or error}") from error
        self._parts.append(path)

    def finish(self, summary: Summary) -> None:
        """Mark the run as finished.

        Raises
        ------
        SettingsError
            If the mark cannot be written.
        """
        try:
            _write(self.path / _FINISHED, json.dumps(summary.to_json(), indent=2).encode())
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror or error}") from error

    def discard(self) -> None:
        """Delete the files of the run, and its folder; a folder behind a symbolic link stays, empty.

        Raises
        ------
        SettingsError
            If they cannot be deleted.
        """
        try:
            for each in self.path.iterdir():
                each.unlink()
            if not self.path.is_symlink():
                self.path.rmdir()
        except OSError as error:
            raise SettingsError(f"{self.path}: {error.strerror or error}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Prevent other processes from resuming the run meanwhile.

        Raises
        ------
        RunError
            If another process works on it already.
        """
        # The lock is a separate file: a user with read access to the run must not be able to take its lock.
        try:
            lock = lock_private(self.path / _LOCK)
        except OSError as error:
            raise RunError(f"{self.path / _LOCK}: {error.strerror or error}") from error
        if lock is None:
            raise RunError(f"{self.path}: another process is at work on this run")
        with lock:
            self._parts = _parts(self.path)  # another process may have written parts until now
            yield


@dataclass(frozen=True, slots=True)
class _Block:
    """Block for fastavro's writer, with rows that are encoded already."""

    num_records: int
    bytes_: io.BytesIO


def _header(path: Path) -> avro_file.FileHeader:
    """Return the header of a part; fast for a part of any size."""
    with path.open("rb") as file:
        data = file.read(_FIRST_BYTES)
        try:
            return avro_file.read_file_header(data)
        except ValueError:
            if len(data) < _FIRST_BYTES:
                raise
            return avro_file.read_file_header(data + file.read(avro_file.MAX_HEADER_BYTES))


def _checksum(header: avro_file.FileHeader, body: bytes) -> int:
    """Return the checksum of all rows of a part; one block at a time is unpacked."""
    checksum, size = 0, 0
    for block in avro_file.blocks(header, body):
        size += len(block.data)
        if size > _MAX_PART_BYTES:
            raise ValueError(f"its rows unpack to more than {_MAX_PART_BYTES} bytes")
        checksum = zlib.crc32(block.data, checksum)
    return checksum


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} is damaged: {error or type(error).__name__}")


def _parts(path: Path) -> list[Path]:
    numbers = {int(match[1]): each for each in path.iterdir() if (match := _PART.fullmatch(each.name))}
    if sorted(numbers) != list(range(len(numbers))):
        missing = min(set(range(len(numbers))) - set(numbers))
        raise RunError(f"{path} is damaged: rows-{missing:06}.avro is missing")
    return [numbers[number] for number in sorted(numbers)]


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "selection": plan.selection.to_json(),
        "meant": plan.effective_selection.to_json(),
        "topic": plan.topic,
        "ranges": {str(number): [list(span) for span in spans] for number, spans in plan.ranges.items()},
        "variants": list(plan.variants),
        "versions": plan.versions,
    }


def _plan_of(values: dict[str, Any]) -> Plan:
    variants = tuple(dict(row) for row in values["variants"])
    if not variants or not all(isinstance(row["name"], str) for row in variants):
        raise ValueError("variants without names")
    return Plan(
        Selection.from_json(values["selection"]),
        Selection.from_json(values["meant"]),
        str(values["topic"]),
        {
            int(number): merged((int(begin), int(end)) for begin, end in spans)
            for number, spans in values["ranges"].items()
        },
        variants,
        dict(values["versions"]),
    )


def _write(path: Path, data: bytes) -> None:
    """Write a file in one piece, also if the power fails."""
    hidden = path.with_name(f".{path.name}.part")
    with hidden.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    hidden.replace(path)
    sync_folder(path.parent)
