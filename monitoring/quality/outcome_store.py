"""Decisions and labels of one camera in SQLite: in memory, or in a file that SQLite deletes when it is closed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from monitoring.quality.outcome import DecisionSummary, ModelKey, Truth
from schemas.records import Action, Verdict

#: Database that SQLite keeps on disk beyond a cache of 2 MB, and deletes when it is closed.
TEMPORARY_FILE = ""
IN_MEMORY = ":memory:"

_TABLES = """
CREATE TABLE models (id INTEGER PRIMARY KEY, name, version, sha256, recipe, revision,
                     UNIQUE (name, version, sha256, recipe, revision));
CREATE TABLE decisions (seq INTEGER PRIMARY KEY, frame TEXT UNIQUE, id TEXT, part TEXT, lot TEXT, action TEXT,
                        verdict TEXT, completed INTEGER, captured INTEGER, decided INTEGER, model INTEGER);
CREATE INDEX decisions_part ON decisions (part) WHERE part IS NOT NULL;
CREATE INDEX decisions_model ON decisions (model);
CREATE TABLE labels (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, frame TEXT, part TEXT, defective INTEGER, at INTEGER,
                     defect TEXT, because TEXT, matched INTEGER NOT NULL DEFAULT 0);
CREATE INDEX labels_frame ON labels (frame) WHERE frame IS NOT NULL;
CREATE INDEX labels_part ON labels (part) WHERE part IS NOT NULL;
CREATE INDEX labels_waiting ON labels (seq) WHERE matched = 0;
"""
_DECISION = (
    "SELECT d.frame, d.id, d.part, d.lot, d.action, d.verdict, d.completed, d.captured, d.decided, "
    "m.name, m.version, m.sha256, m.recipe, m.revision FROM decisions d JOIN models m ON m.id = d.model "
)
_LABEL = "SELECT id, frame, part, defective, at, defect, because FROM labels "


class OutcomeStore:
    """Rows in the order in which they were added; the caller enforces the bounds.

    Parameters
    ----------
    path
        `IN_MEMORY` or `TEMPORARY_FILE`.
    """

    def __init__(self, path: str = IN_MEMORY) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # No data survives the process: no journal, no waiting for the disk.
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
        self._models: dict[ModelKey, int] = {}
        self.decisions = 0
        self.labels = 0

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __del__(self) -> None:
        # Python 3.13 warns about a connection that was not closed.
        self._db.close()

    def find(self, frame_id: str) -> DecisionSummary | None:
        """Return the decision on a frame; None if there is no decision."""
        return next(self._decisions("WHERE d.frame = ?", frame_id), None)

    def about(self, truth: Truth) -> list[DecisionSummary]:
        """Return the decisions that a label is about, oldest first."""
        found = list(self._decisions("WHERE d.frame = ?", truth.frame_id)) if truth.frame_id is not None else []
        if truth.part_id is not None:
            of_part = self._decisions("WHERE d.part = ? ORDER BY d.seq", truth.part_id)
            found += [summary for summary in of_part if summary.frame_id != truth.frame_id]
        return found

    def put(self, summary: DecisionSummary) -> None:
        """Store a decision; it replaces an older one on the same frame."""
        where = {"frame": summary.frame_id}
        replaced = self._db.execute("DELETE FROM decisions WHERE frame = :frame", where).rowcount
        self._db.execute(
            "INSERT INTO decisions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                summary.frame_id, summary.digest, summary.part_id, summary.lot, summary.action.value,
                summary.verdict.value, summary.is_completed, summary.captured_at_us, summary.decided_at_us,
                self._model(summary.model),
            ),
        )  # fmt: skip
        self.decisions += 1 - replaced

    def truths(self, summary: DecisionSummary) -> list[Truth]:
        """Return the labels about a decision's frame or part."""
        query = f"{_LABEL} WHERE frame = ? UNION {_LABEL} WHERE part = ?"
        rows = self._db.execute(query, (summary.frame_id, summary.part_id))
        return [_truth(row) for row in rows]

    def label(self, label_id: str) -> Truth | None:
        """Return the label of an id; None if there is no such label."""
        row = self._db.execute(f"{_LABEL} WHERE id = ?", (label_id,)).fetchone()
        return None if row is None else _truth(row)

    def contradicted(self, truth: Truth) -> bool:
        """Return True if a label of the same time has another truth for the same frame or part."""
        rows = self._db.execute(
            "SELECT 1 FROM labels WHERE frame = ?1 AND at = ?3 AND defective <> ?4 UNION ALL "
            "SELECT 1 FROM labels WHERE part = ?2 AND at = ?3 AND defective <> ?4",
            (truth.frame_id, truth.part_id, truth.labelled_at_us, truth.is_defective),
        )
        return rows.fetchone() is not None

    def put_label(self, truth: Truth, *, matched: bool) -> None:
        """Store a label that is not stored yet."""
        self._db.execute(
            "INSERT INTO labels VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                truth.label_id, truth.frame_id, truth.part_id, truth.is_defective, truth.labelled_at_us, truth.defect,
                truth.sampled_because, matched,
            ),
        )  # fmt: skip
        self.labels += 1

    def match(self, truths: Iterable[Truth]) -> None:
        """Record that labels have found a decision."""
        self._db.executemany("UPDATE labels SET matched = 1 WHERE id = ?", [(truth.label_id,) for truth in truths])

    @property
    def waiting(self) -> int:
        """Number of labels that have found no decision."""
        return int(self._db.execute("SELECT count(*) FROM labels WHERE matched = 0").fetchone()[0])

    def oldest(self) -> DecisionSummary | None:
        """Return the decision that was stored first; None if there is no decision."""
        return next(self._decisions("ORDER BY d.seq LIMIT 1"), None)

    def drop(self, summary: DecisionSummary) -> None:
        """Delete a decision."""
        self.decisions -= self._db.execute("DELETE FROM decisions WHERE frame = ?", (summary.frame_id,)).rowcount

    def drop_oldest_label(self) -> tuple[Truth, bool]:
        """Delete the label that was stored first; return it, and True if it had found a decision."""
        row = self._db.execute(_LABEL.replace(" FROM", ", matched, seq FROM") + "ORDER BY seq LIMIT 1").fetchone()
        self._db.execute("DELETE FROM labels WHERE seq = ?", (row[-1],))
        self.labels -= 1
        return _truth(row[:-2]), bool(row[-2])

    def newest(self, decisions: int) -> tuple[list[DecisionSummary], list[tuple[Truth, bool]]]:
        """Return the newest decisions with their labels, and at most as many waiting labels; both oldest first."""
        kept = list(self._decisions("ORDER BY d.seq DESC LIMIT ?", decisions))[::-1]
        chosen = {truth.label_id for summary in kept for truth in self.truths(summary)}
        waiting = self._db.execute("SELECT id FROM labels WHERE matched = 0 ORDER BY seq DESC LIMIT ?", (decisions,))
        chosen |= {row[0] for row in waiting}
        rows = self._db.execute(_LABEL.replace(" FROM", ", matched FROM") + "ORDER BY seq")
        return kept, [(_truth(row[:-1]), bool(row[-1])) for row in rows if row[0] in chosen]

    def _decisions(self, where: str, *values: Any) -> Iterator[DecisionSummary]:
        for row in self._db.execute(_DECISION + where, values).fetchall():
            frame, name, part, lot, action, verdict, completed, captured, decided, *model = row
            yield DecisionSummary(
                frame, name, part, lot, Action(action), Verdict(verdict), bool(completed), captured, decided,
                ModelKey(*model),
            )  # fmt: skip

    def _model(self, model: ModelKey) -> int:
        if (found := self._models.get(model)) is None:
            # A new model is rare: now delete the models that no decision names any more.
            self._db.execute("DELETE FROM models WHERE id NOT IN (SELECT model FROM decisions)")
            values = (model.name, model.version, model.sha256, model.recipe_id, model.recipe_revision)
            self._db.execute("INSERT OR IGNORE INTO models VALUES (NULL, ?, ?, ?, ?, ?)", values)
            rows = self._db.execute("SELECT id, name, version, sha256, recipe, revision FROM models").fetchall()
            self._models = {ModelKey(*row[1:]): row[0] for row in rows}
            found = self._models[model]
        return found


def _truth(row: Any) -> Truth:
    return Truth(row[0], row[1], row[2], bool(row[3]), *row[4:])
