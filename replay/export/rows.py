"""Rows of a stretch for a notebook: named now, read when they are asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from replay.export.arrow import empty_of, pyarrow, to_arrow, to_pandas
from replay.export.write import check_suffix, new_file, write_rows
from replay.reinspect.run_folder import RunFolder
from replay.replayed import ReplayedFrame
from replay.selection import Selection
from replay.source import Source
from replay.stretch import decided, labels
from replay.table import Table, build_table
from replay.truths import Truths


@dataclass(frozen=True, slots=True)
class Rows:
    """A recipe: where frames and labels come from. Each call below reads anew, and nothing is read before.

    Parameters
    ----------
    read
        Gives the frames, from the first on, each time it is called.
    truths
        Gives the labels; None: nothing is known of the truth.
    variants
        Names of the variants that ``read`` gives decisions of, in their order.
    truth_attribute
        See `replay.table.build_table`.

    Examples
    --------
    >>> Rows(lambda: iter([])).to_arrow().num_rows
    0
    """

    read: Callable[[], Iterator[ReplayedFrame]]
    truths: Callable[[], Truths] | None = None
    variants: tuple[str, ...] = ()
    truth_attribute: str | None = None

    def table(self) -> Table:
        """All rows, for the analysis. Memory: some 1.5 KiB a frame."""
        return self._build(self.read(), self._truths())

    def to_arrow(self) -> Any:
        """All rows as a `pyarrow.Table`, see `to_arrow`."""
        pyarrow()
        return to_arrow(self.table())

    def to_pandas(self) -> Any:
        """All rows as a `pandas.DataFrame`."""
        pyarrow()
        return to_pandas(self.table())

    def batches(self, rows: int = 10_000) -> Iterator[Any]:
        """Rows as `pyarrow.RecordBatch` of one schema, at most so many in each, in the order in which they are read.

        Memory: one batch and the labels, however many frames. They are read once and put by in a temporary file, since
        which signals and attributes there are is known at the end. Unlike in `table`, a frame that was published twice
        is two rows where more than ``rows`` frames lie between.
        """
        if rows < 1:
            raise ValueError("a batch has at least one row")
        pa = pyarrow()
        with tempfile.TemporaryFile() as file:
            pieces: list[tuple[int, Any]] = []
            for table in self._pieces(rows):
                pieces.append((file.tell(), (piece := to_arrow(table)).schema))
                with pa.ipc.new_stream(file, piece.schema) as writer:
                    writer.write_table(piece.combine_chunks())
            if not pieces:
                schema = to_arrow(self._build([], None)).schema
                yield pa.record_batch([pa.nulls(0, found.type) for found in schema], schema=schema)
                return
            schema = _union(pa, [found for _, found in pieces])
            for position, _ in pieces:
                file.seek(position)
                with pa.ipc.open_stream(file) as reader:
                    piece = reader.read_all().combine_chunks()
                yield from _fit(pa, piece, schema).to_batches(max_chunksize=rows)

    def write(self, path: Path, *, rows: int = 10_000) -> int:
        """Write all rows to a ``.parquet`` or ``.csv`` file, and give their number.

        Memory: as for `batches` for Parquet, as for `table` for CSV, which needs no pyarrow.

        Raises
        ------
        SettingsError
            As for `write_rows`.
        """
        if path.suffix != ".parquet":
            check_suffix(path)
            table = self.table()
            write_rows(path, table)
            return len(table)
        count = 0
        with new_file(path) as temporary:
            pyarrow()
            from pyarrow import parquet

            batches = self.batches(rows)
            first = next(batches)
            with parquet.ParquetWriter(temporary, first.schema) as writer:
                for batch in chain([first], batches):
                    writer.write_batch(batch)
                    count += batch.num_rows
        return count

    def _truths(self) -> Truths | None:
        return None if self.truths is None else self.truths()

    def _build(self, frames: Iterable[ReplayedFrame], truths: Truths | None) -> Table:
        return build_table(frames, truths, variants=self.variants, truth_attribute=self.truth_attribute)

    def _pieces(self, rows: int) -> Iterator[Table]:
        truths, read = self._truths(), self.read()
        while piece := list(islice(read, rows)):
            yield self._build(piece, truths)


def frames(
    source: Source,
    selection: Selection | None = None,
    *,
    with_labels: bool = True,
    truth_attribute: str | None = None,
) -> Rows:
    """Rows of a selection from the decisions that the line recorded, with what labels say; nothing is read yet.

    Parameters
    ----------
    selection
        None: every frame there is.
    with_labels
        Whether labels are read: all since the begin of the selection.
    truth_attribute
        Attribute of the frames that says the truth where no label does.

    Examples
    --------
    >>> from schemas import KafkaSettings
    >>> rows = frames(Source(KafkaSettings()), Selection(lots=("L7",)))
    >>> rows.variants
    ()
    """
    chosen = selection or Selection()
    truths = (lambda: Truths(labels(source, chosen.from_us))) if with_labels else None
    return Rows(lambda: decided(source, chosen), truths, truth_attribute=truth_attribute)


def run_rows(path: Path, source: Source | None = None, *, truth_attribute: str | None = None) -> Rows:
    """Rows of a run of ``inspection replay --out``, with the decision of each variant; nothing is read yet.

    Parameters
    ----------
    path
        Folder of the run.
    source
        Where labels lie; None: nothing is known of the truth.
    truth_attribute
        See `frames`.

    Raises
    ------
    RunError
        If the folder is none of a run.
    """
    run = RunFolder.open(path)
    truths = None if source is None else (lambda: Truths(labels(source, run.selection.from_us)))
    return Rows(run.frames, truths, run.variants, truth_attribute)


def _union(pa: Any, schemas: Sequence[Any]) -> Any:
    """The columns of all: those that only some have are signals and attributes, sorted behind the others."""
    first, names = schemas[0], {name for schema in schemas for name in schema.names}
    fixed = [first.field(name) for name in first.names if not name.startswith(("signal.", "attribute."))]
    free = sorted(names - {found.name for found in fixed}, key=lambda name: (name.startswith("attribute."), name))
    return pa.schema([*fixed, *(pa.field(name, empty_of(pa, name)) for name in free)], metadata=first.metadata)


def _fit(pa: Any, piece: Any, schema: Any) -> Any:
    have = set(piece.column_names)
    columns = [
        piece.column(wanted.name) if wanted.name in have else pa.nulls(len(piece), wanted.type) for wanted in schema
    ]
    return pa.table(columns, schema=schema)
