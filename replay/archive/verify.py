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
    work = {file.path: file.size_bytes for commits in loaded.values() for commit in commits for file in commit.files}
    report.topics, report.files, report.bytes = len(topics), len(work), sum(work.values())
    done = 0
    checked: dict[str, array[int]] = {}
    holes: list[_Hole] = []
    for topic, commits in loaded.items():
        report.commits += len(commits)
        holes += _check_chain(topic, commits, [span for span in spans if span.topic == topic], report)
        for commit in commits:
            offsets: array[int] = array("q")
            for file in commit.files:
                if file.path not in checked:
                    report.messages += file.records
                    checked[file.path] = _check_file(store, listing, commit, file, report, quick=quick)
                    done += file.size_bytes
                    on_progress(done, report.bytes)
                offsets.extend(checked[file.path])
            if len(set(offsets)) < len(offsets):
                some = sorted(offset for offset, count in Counter(offsets).items() if count > 1)[:3]
                report.damage.append(f"{commit.path}: its files have offsets twice: {', '.join(map(str, some))}")
        checked.clear()
    named = {*work, ARCHIVE_FILE}
    report.leftovers = {
        path: entry.size_bytes
        for path, entry in listing.items()
        if path not in named and parse_commit_name(path) is None and _is_ours(path)
    }
    report.kept = [path for path in report.leftovers if any(hole.may_have_named(path) for hole in holes)]
    if remove_leftovers and not unknown:
        limit_us = time.time_ns() // 1000 - round(LEFTOVER_AGE_S * 1e6)
        for path in set(report.leftovers) - set(report.kept):
            if _is_older(listing.get(path), limit_us) and _is_older(store.find(path).get(path), limit_us):
                store.remove(path)
                report.removed += 1
    return report


def _is_older(entry: ArchiveEntry | None, limit_us: int) -> bool:
    return entry is not None and entry.modified_us is not None and entry.modified_us < limit_us


def _is_ours(path: str) -> bool:
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
        said = "; ".join(f"{name}: {', '.join(paths[:3])}" for name, paths in by_id.items())
        report.damage.append(f"commits of {topic} are of {len(by_id)} topics of that name: {said}")
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
    ids = set(by_id)
    for span in spans:
        if not ids or span.topic_id in ids:
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


def _check_file(
    store: ArchiveStore,
    listing: Mapping[str, ArchiveEntry],
    commit: Commit,
    file: DataFile,
    report: Verification,
    *,
    quick: bool,
) -> array[int]:
    """Return the offsets of a file's records; if the file is damaged, report it and return no offsets."""
    entry = listing.get(file.path)
    if quick and (entry is None or entry.size_bytes != file.size_bytes):
        entry = store.find(file.path).get(file.path)  # a sink may have written it since the listing was made
    if quick and (entry is None or entry.size_bytes != file.size_bytes):
        why = "is missing" if entry is None else f"has {entry.size_bytes} bytes, not {file.size_bytes}"
        report.damage.append(f"{file.path} {why}")
    if quick:
        return array("q")
    try:
        return _read_file(store, commit, file)
    except ArchiveError as error:
        report.damage.append(str(error))
        return array("q")


def _read_file(store: ArchiveStore, commit: Commit, file: DataFile) -> array[int]:
    record = next((topic.record for topic in TOPICS if commit.topic.endswith(f".{topic.suffix}")), None)
    if record is None:
        raise ArchiveError(f"{commit.path}: no topic of a line is called {commit.topic}")
    header = read_header(store, file)
    digest = hashlib.sha256(header)
    offsets: array[int] = array("q")
    times: list[int] = []
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
                times = [min(*times, stored.timestamp_us), max(*times, stored.timestamp_us)] if times else [
                    stored.timestamp_us, stored.timestamp_us
                ]  # fmt: skip
        except ValueError as error:
            raise damaged(store, file, str(error)) from error
    if digest.hexdigest() != file.sha256:
        raise damaged(store, file, "its sha256 is not that of its commit")
    if len(store.read(file.path, file.size_bytes, 1)) > 0:
        raise damaged(store, file, f"it has more than its {file.size_bytes} bytes")
    if not offsets:
        raise damaged(store, file, "it has no records")
    said = (file.records, file.first_offset, file.last_offset, file.from_us, file.to_us)
    if (len(offsets), offsets[0], offsets[-1], *times) != said:
        raise damaged(store, file, "its records are not those that its commit names")
    return offsets
