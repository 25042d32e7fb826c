"""Roll-up: merge many small commits into one; a sink that commits every few minutes makes a hundred thousand a year.

The large commit is written first. Then both the large and the small commits exist, and
`replay.archive.commits.pieces` takes the large one. Then the small ones are deleted. If the process is killed in
between, the next run deletes them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby

from replay.archive.commits import Commit, Piece, pieces
from replay.archive.store import ArchiveStore

#: Minimum number of commits in a row for a roll-up, and maximum number of files of a rolled-up commit.
FROM_COMMITS = 64
MAX_FILES = 1024


def roll_up(store: ArchiveStore, commits: Iterable[Commit]) -> int:
    """Replace small commits of a topic by larger ones; return the number of deleted commits.

    Raises
    ------
    ArchiveError
        If the store does not answer.
    """
    deleted = 0
    for _, some in groupby(sorted(commits, key=lambda one: one.partition), key=lambda one: one.partition):
        own = list(some)
        found = pieces(own)
        kept = {piece.commit.path: piece.commit for piece in found}
        for run in _runs(found):
            large = _joined(run)
            store.write(large.path, large.to_bytes())
            for commit in run:
                del kept[commit.path]
            kept[large.path] = large
        ascending = sorted(kept.values(), key=lambda one: one.begin)
        for commit in own:
            # Kept commits overlap only in part: only the last one that begins no later can contain this commit.
            at = bisect_right(ascending, commit.begin, key=lambda one: one.begin) - 1
            if commit.path not in kept and at >= 0 and _says_all_of(ascending[at], commit):
                store.remove(commit.path)
                deleted += 1
    return deleted


def _runs(found: list[Piece]) -> Iterator[list[Commit]]:
    """Yield runs of commits without a gap or an overlap, that have few enough files together."""
    run: list[Commit] = []
    for piece in found:
        commit = piece.commit
        whole = (piece.begin, piece.end) == (commit.begin, commit.end)
        follows = not run or (run[-1].end == commit.begin and commit.deleted_from is None)
        fits = sum(len(one.files) for one in [*run, commit]) <= MAX_FILES
        if run and not (whole and follows and fits):
            if len(run) >= FROM_COMMITS:
                yield run
            run = []
        if whole and len(commit.files) < MAX_FILES // 2:
            run.append(commit)
    if len(run) >= FROM_COMMITS:
        yield run


def _joined(run: list[Commit]) -> Commit:
    first = run[0]
    return Commit(
        topic=first.topic,
        topic_id=first.topic_id,
        partition=first.partition,
        begin=first.begin,
        end=run[-1].end,
        files=tuple(file for commit in run for file in commit.files),
        deleted_from=first.deleted_from,
        committed_at_us=run[-1].committed_at_us,
    )


def _says_all_of(large: Commit, small: Commit) -> bool:
    names = {file.path for file in large.files}
    return (
        large.begin <= small.begin
        and small.end <= large.end
        and large.topic_id == small.topic_id
        and (small.deleted_from is None or small.begin == large.begin)
        and all(file.path in names for file in small.files)
    )
