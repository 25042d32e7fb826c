"""Status of an archive: its contents topic by topic, and its lag behind the line."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from replay.archive.commits import Commit, pieces
from replay.archive.index import Index
from replay.archive.store import ArchiveStore
from schemas.errors import BrokerUnavailable, TopicMissing
from schemas.settings import KafkaSettings
from transport.topic_identity import TopicIdentities
from transport.topic_ranges import watermarks


@dataclass(slots=True)
class TopicStatus:
    """Archived contents of one topic.

    Parameters
    ----------
    offsets
        First offset and end, by partition.
    from_us, to_us
        Earliest and latest timestamp of its messages; None if there are no messages.
    cameras
        Number of messages by ``station/camera``, for files of a single camera.
    references
        Number of frames whose image is not in the archive.
    gaps
        Offsets between commits that are not archived, by partition: begin and end.
    lag
        Number of offsets of the topic that are not archived yet; None if the broker was not asked, or does not answer.
    problem
        Reason why the present topic is not the archived one, or why it could not be checked; empty if there is no
        problem.
    """

    topic: str
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)
    commits: int = 0
    files: int = 0
    messages: int = 0
    bytes: int = 0
    unreadable: int = 0
    references: int = 0
    from_us: int | None = None
    to_us: int | None = None
    last_commit_us: int = 0
    cameras: dict[str, int] = field(default_factory=dict)
    gaps: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    lag: int | None = None
    problem: str = ""


def status(store: ArchiveStore, kafka: KafkaSettings | None = None) -> list[TopicStatus]:
    """Return one row for each topic; with the settings of a line, ask its broker for the lag.

    Raises
    ------
    ArchiveError
        If there is no archive, or it is damaged.
    """
    index = Index(store)
    rows = []
    for topic in index.topics():
        row = _row(topic, index.commits(topic))
        if kafka is not None:
            _ask(row, kafka, index.topic_id(topic) or "")
        rows.append(row)
    return rows


def _row(topic: str, commits: list[Commit]) -> TopicStatus:
    row = TopicStatus(topic, commits=len(commits))
    row.last_commit_us = max(commit.committed_at_us for commit in commits)
    for number in sorted({commit.partition for commit in commits}):
        found = pieces(commit for commit in commits if commit.partition == number)
        row.offsets[number] = (found[0].begin, found[-1].end)
        gaps = [(a.end, b.begin) for a, b in pairwise(found) if a.end < b.begin]
        if gaps:
            row.gaps[number] = gaps
    for file in {file.path: file for commit in commits for file in commit.files}.values():
        row.files += 1
        row.messages += file.records
        row.bytes += file.size_bytes
        row.unreadable += file.unreadable
        row.references += file.references
        row.from_us = file.from_us if row.from_us is None else min(row.from_us, file.from_us)
        row.to_us = file.to_us if row.to_us is None else max(row.to_us, file.to_us)
        if file.camera is not None:
            row.cameras[file.camera] = row.cameras.get(file.camera, 0) + file.records
    return row


def _ask(row: TopicStatus, kafka: KafkaSettings, archived_id: str) -> None:
    try:
        present = TopicIdentities(kafka).of([row.topic])[row.topic]
        if present.topic_id != archived_id:
            row.problem = "it was deleted and re-created: archive to another URI"
            return
        bounds = watermarks(kafka, row.topic)
    except (BrokerUnavailable, TopicMissing) as error:
        row.problem = str(error)
        return
    row.lag = sum(
        high - max(low, row.offsets[number][1] if number in row.offsets else 0)
        for number, (low, high) in bounds.items()
    )
