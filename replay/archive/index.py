"""Index: all commits of an archive; the commits of each topic are read once, on first use."""

from __future__ import annotations

from collections.abc import Callable

from replay.archive.commits import Commit, Piece, pieces
from replay.archive.errors import ArchiveError
from replay.archive.layout import COMMITS, commit_folder, parse_commit_name
from replay.archive.store import ArchiveStore

#: Number of listings if listed commits disappear meanwhile: a sink has then merged them into larger ones.
_LISTINGS = 5


class Index:
    """Commits of the archive at a store.

    Raises
    ------
    ArchiveError
        If there is no archive, if it is of a later format, or if it cannot be read.
    """

    def __init__(self, store: ArchiveStore) -> None:
        self._store = store
        if not store.is_archive():
            raise ArchiveError(f"no archive at {store.uri}: archive.json is missing; `inspection archive` makes it")
        self._commits: dict[str, list[Commit]] = {}
        self._pieces: dict[str, dict[int, list[Piece]]] = {}

    def topics(self) -> list[str]:
        """Return the names of the topics that have commits."""
        names = (parse_commit_name(path) for path in self._store.find(COMMITS))
        return sorted({name.topic for name in names if name is not None})

    def commits(self, topic: str) -> list[Commit]:
        """Return all commits of a topic, in order of partition and begin.

        Raises
        ------
        ArchiveError
            If a commit is damaged, or the commits are of two topics of the same name.
        """
        if topic not in self._commits:
            commits = load_commits(self._store, topic)
            if len({commit.topic_id for commit in commits}) > 1:
                raise ArchiveError(
                    f"archive {self._store.uri}: commits of {topic} are of two topics of that name, one made when the "
                    "other was deleted; `inspection archive verify` names them, move those of one elsewhere"
                )
            self._commits[topic] = commits
        return self._commits[topic]

    def pieces(self, topic: str) -> dict[int, list[Piece]]:
        """Return the archived pieces of a topic by partition, ascending, with each offset once.

        Raises
        ------
        ArchiveError
            See `commits`.
        """
        if topic not in self._pieces:
            commits = self.commits(topic)
            numbers = sorted({commit.partition for commit in commits})
            self._pieces[topic] = {n: pieces(one for one in commits if one.partition == n) for n in numbers}
        return self._pieces[topic]

    def topic_id(self, topic: str) -> str | None:
        """Return Kafka's id of the archived topic; None if nothing of it is archived."""
        for found in self.pieces(topic).values():
            return found[0].commit.topic_id
        return None


def load_commits(
    store: ArchiveStore, topic: str, on_damage: Callable[[str, ArchiveError], object] | None = None
) -> list[Commit]:
    """Return all commits of a topic, in order of partition and begin.

    Parameters
    ----------
    on_damage
        Called with path and error for each damaged commit, which is then left out; None to raise the error.

    Raises
    ------
    ArchiveError
        If a commit is damaged, or the store does not answer.
    """
    known: dict[str, Commit | None] = {}
    for _ in range(_LISTINGS):
        paths = [path for path in store.find(commit_folder(topic)) if parse_commit_name(path) is not None]
        gone = False
        for path, data in store.read_small([path for path in paths if path not in known]):
            if data is None:
                gone = True
                continue
            try:
                known[path] = Commit.from_bytes(data, path)
            except ArchiveError as error:
                if on_damage is None:
                    raise
                on_damage(path, error)
                known[path] = None
        if not gone:
            found = [commit for path in paths if (commit := known[path]) is not None]
            return sorted(found, key=lambda commit: (commit.partition, commit.begin, commit.end))
    raise ArchiveError(f"archive {store.uri}: commits of {topic} come and go while they are read; try again")
