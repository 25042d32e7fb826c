"""Verification of an archive against its commits: finds missing, altered and duplicate data."""

from __future__ import annotations

import hashlib
import re
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from replay.archive.commits import Commit, DataFile, Piece, pieces
from replay.archive.container import messages
from replay.archive.errors import ArchiveError
from replay.archive.index import load_commits
from replay.archive.layout import ARCHIVE_FILE, parse_commit_name
from replay.archive.reader import damaged, read_checked, read_header, segment_bounds
from replay.archive.span import ArchivedSpan, load_spans
from replay.archive.store import ArchiveEntry, ArchiveStore
from schemas.codec import Codec
from schemas.topics import TOPICS
from transport.store_files import PART_PREFIX

#: Minimum age of leftovers: a sink may still be writing younger ones.
LEFTOVER_AGE_S = 3600.0
_REMEDY = "`inspection archive` archives again what the topic still has"
_DATA = re.compile(r"(\d+)-(\d{20})-(\d{20})-[0-9a-f]{16}\.avro")


@dataclass(slots=True)
class Verification:
    """Results of a verification.

    Parameters
    ----------
    damage
        Missing or altered data, one line each.
    gaps
        Offsets that the topic had deleted before they were archived, and offsets before the first commit that were
        archived once, one line each.
    twice
        Number of offsets that two commits have; the reader takes each once.
    leftovers
        Files that no commit names, with their sizes. Most come from killed runs and are harmless.
    kept
        Leftovers with offsets that no commit has, behind those of another commit: a commit was lost, and they may be
        the only copy. They are never removed.
    removed
        Number of leftovers that were removed.
    """

    topics: int = 0
    commits: int = 0
    files: int = 0
    messages: int = 0
    bytes: int = 0
    twice: int = 0
    damage: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    leftovers: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    removed: int = 0


def verify(
    store: ArchiveStore,
    *,
    quick: bool = False,
    remove_leftovers: bool = False,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Verification:
    """Check an archive.

    Parameters
    ----------
    quick
        Check only that files exist and have their size; otherwise every byte and every record is read.
    remove_leftovers
        Delete files that no commit names and that are older than an hour. Nothing is deleted while a commit is damaged,
        since it may name these files, and nothing that a lost commit may have named.
    on_progress
        Called with the bytes of data files: bytes done, and bytes in all.

    Raises
    ------
    ArchiveError
        If there is no archive, if it is of a later format, or if it cannot be read.
    """
    if not store.is_archive():
        raise ArchiveError(f"no archive at {store.uri}: {ARCHIVE_FILE} is missing; `inspection archive` makes it")
    report = Verification()
    # List the files first: then files that a sink commits meanwhile are not taken for leftovers.
    listing = store.find("")
    # Spans come before the commits: then a commit that a sink writes meanwhile is not taken for a lost one.
    spans = load_spans(store, listing, lambda error: report.damage.append(str(error)))
    named_topics = {name.topic for path in listing if (name := parse_commit_name(path)) is not None}
    topics = sorted(named_topics | {span.topic for span in spans})
    loaded = {topic: load_commits(store, topic, lambda _, error: report.damage.append(str(error))) for topic in topics}
    unknown = bool(report.damage)
    files = {file.path: file for commits in loaded.values() for commit in commits for file in commit.files}
    report.topics, report.files = len(topics), len(files)
    report.bytes = sum(file.size_bytes for file in files.values())
    checker = _Checker(store, listing, report, on_progress, is_quick=quick)
    holes: list[_Hole] = []
    for topic, commits in loaded.items():
        holes += _check_chain(topic, commits, [span for span in spans if span.topic == topic], report)
        checker.check(commits)
    report.leftovers = {
        path: entry.size_bytes for path, entry in listing.items() if path not in files and _is_data(path)
    }
    report.kept = [path for path in report.leftovers if any(hole.may_have_named(path) for hole in holes)]
    if remove_leftovers and not unknown:
        _remove_leftovers(store, listing, report)
    return report


def _remove_leftovers(store: ArchiveStore, listing: Mapping[str, ArchiveEntry], report: Verification) -> None:
    """Delete the old leftovers. The listing may be hours old: a sink may have written such a file again since."""
    limit_us = time.time_ns() // 1000 - round(LEFTOVER_AGE_S * 1e6)
    for path in set(report.leftovers) - set(report.kept):
        if _is_older(listing.get(path), limit_us) and _is_older(store.find(path).get(path), limit_us):
            store.remove(path)
            report.removed += 1


def _is_older(entry: ArchiveEntry | None, limit_us: int) -> bool:
    return entry is not None and entry.modified_us is not None and entry.modified_us < limit_us


def _is_data(path: str) -> bool:
    """Return True for a data file, and for one that was not finished."""
    name = path.rpartition("/")[2]
    return _DATA.fullmatch(name) is not None or name.startswith(PART_PREFIX)


@dataclass(frozen=True, slots=True)
class _Hole:
    """Offsets [begin, end) of a partition that no commit has, although they were archived."""

    topic: str
    partition: int
    begin: int
    end: int

    def may_have_named(self, path: str) -> bool:
        """Return True if a data file has offsets of the hole, by its name."""
        folder, _, name = path.rpartition("/")
        found = _DATA.fullmatch(name)
        if found is None or folder.split("/")[0] != self.topic:
            return False
        partition, first, end = map(int, found.groups())
        return partition == self.partition and first < self.end and self.begin < end


def _check_chain(topic: str, commits: list[Commit], spans: list[ArchivedSpan], report: Verification) -> list[_Hole]:
    """Check that the commits of each partition follow one another; return the holes that lost commits have left."""
    holes: list[_Hole] = []
    by_id: dict[str, list[str]] = {}
    for commit in commits:
        by_id.setdefault(commit.topic_id, []).append(commit.path)
    if len(by_id) > 1:
        found_ids = "; ".join(f"{name}: {', '.join(paths[:3])}" for name, paths in by_id.items())
        report.damage.append(f"commits of {topic} are of {len(by_id)} topics of that name: {found_ids}")
    for number in sorted({commit.partition for commit in commits}):
        own = [commit for commit in commits if commit.partition == number]
        found = pieces(own)
        report.twice += sum(one.end - one.begin for one in own) - sum(piece.end - piece.begin for piece in found)
        for before, after in pairwise(found):
            if before.end == after.begin:
                continue
            where = f"{topic}-{number}: offsets {before.end} to {after.begin - 1}"
            begins = [one for one in own if one.begin == after.begin]
            if any(one.deleted_from is not None and one.deleted_from <= before.end for one in begins):
                report.gaps.append(f"{where} were deleted before they were archived")
            else:
                holes.append(_Hole(topic, number, before.end, after.begin))
                report.damage.append(f"{where}: a commit is missing; {_REMEDY}")
    for span in spans:
        if not by_id or span.topic_id in by_id:
            own = [commit for commit in commits if commit.partition == span.partition]
            holes += _check_ends(span, pieces(own), report)
    return holes


def _check_ends(span: ArchivedSpan, found: list[Piece], report: Verification) -> list[_Hole]:
    """Report offsets before the first commit, which may have been removed on purpose, and behind the last one."""
    begin, end = (found[0].begin, found[-1].end) if found else (span.begin, span.begin)
    where = f"{span.topic}-{span.partition}: offsets"
    if span.begin < begin:
        report.gaps.append(
            f"{where} {span.begin} to {begin - 1} were archived once: their commits are not here any more"
        )
    if end >= span.end:
        return []
    report.damage.append(f"{where} {end} to {span.end - 1}: the last commits are missing; {_REMEDY}")
    return [_Hole(span.topic, span.partition, end, span.end)]


class _Checker:
    """Check of the files that commits name; damage goes into the report."""

    def __init__(
        self,
        store: ArchiveStore,
        listing: Mapping[str, ArchiveEntry],
        report: Verification,
        on_progress: Callable[[int, int], object],
        *,
        is_quick: bool,
    ) -> None:
        self._store, self._listing, self._report = store, listing, report
        self._on_progress, self._is_quick = on_progress, is_quick
        self._done_bytes = 0

    def check(self, commits: list[Commit]) -> None:
        """Check each file of a topic's commits once, and that no commit has an offset twice."""
        self._report.commits += len(commits)
        checked: dict[str, array[int]] = {}
        for commit in commits:
            offsets: array[int] = array("q")
            for file in commit.files:
                if file.path not in checked:
                    checked[file.path] = self._check_file(commit, file)
                offsets.extend(checked[file.path])
            if len(set(offsets)) < len(offsets):
                some = sorted(offset for offset, count in Counter(offsets).items() if count > 1)[:3]
                self._report.damage.append(f"{commit.path}: its files have offsets twice: {', '.join(map(str, some))}")

    def _check_file(self, commit: Commit, file: DataFile) -> array[int]:
        """Return the offsets of a file's records; no offsets if it is damaged, or only its size was checked."""
        offsets: array[int] = array("q")
        try:
            if self._is_quick:
                self._check_size(file)
            else:
                offsets = _read_file(self._store, commit, file)
        except ArchiveError as error:
            self._report.damage.append(str(error))
        self._report.messages += file.records
        self._done_bytes += file.size_bytes
        self._on_progress(self._done_bytes, self._report.bytes)
        return offsets

    def _check_size(self, file: DataFile) -> None:
        entry = self._listing.get(file.path)
        if entry is None or entry.size_bytes != file.size_bytes:
            entry = self._store.find(file.path).get(file.path)  # a sink may have written it since the listing was made
        if entry is None:
            raise ArchiveError(f"{file.path} is missing")
        if entry.size_bytes != file.size_bytes:
            raise ArchiveError(f"{file.path} has {entry.size_bytes} bytes, not {file.size_bytes}")


def _read_file(store: ArchiveStore, commit: Commit, file: DataFile) -> array[int]:
    """Read a whole file, and return the offsets of its records.

    Raises
    ------
    ArchiveError
        If the file is missing, or is not as its commit describes it.
    """
    record = next((topic.record for topic in TOPICS if commit.topic.endswith(f".{topic.suffix}")), None)
    if record is None:
        raise ArchiveError(f"{commit.path}: no topic of a line is called {commit.topic}")
    header = read_header(store, file)
    digest = hashlib.sha256(header)
    offsets: array[int] = array("q")
    from_us, to_us = 2**63, -(2**63)
    codec = Codec()
    for number, segment in enumerate(file.segments):
        data = read_checked(store, file, *segment_bounds(file, number), segment.crc32)
        digest.update(data)
        try:
            for stored in messages(header, data, record, codec):
                position = stored.position
                if (position.topic, position.partition) != (commit.topic, commit.partition):
                    raise ValueError(f"{position} is of another partition")
                if not commit.begin <= position.offset < commit.end or (offsets and position.offset <= offsets[-1]):
                    raise ValueError(f"{position} is out of order, or out of its commit")
                offsets.append(position.offset)
                from_us, to_us = min(from_us, stored.timestamp_us), max(to_us, stored.timestamp_us)
        except ValueError as error:
            raise damaged(store, file, str(error)) from error
    if digest.hexdigest() != file.sha256:
        raise damaged(store, file, "its sha256 is not that of its commit")
    if len(store.read(file.path, file.size_bytes, 1)) > 0:
        raise damaged(store, file, f"it has more than its {file.size_bytes} bytes")
    if not offsets:
        raise damaged(store, file, "it has no records")
    indexed = (file.records, file.first_offset, file.last_offset, file.from_us, file.to_us)
    if (len(offsets), offsets[0], offsets[-1], from_us, to_us) != indexed:
        raise damaged(store, file, "its records are not those that its commit names")
    return offsets
