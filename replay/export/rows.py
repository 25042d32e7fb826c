"""Rows of a stretch for a notebook: described now, read on demand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from monitoring.quality.label_index import LabelIndex
from replay.analysis.table import MAX_COLUMNS, Table, build_table
from replay.export.arrow import empty_of, pyarrow, to_arrow, to_pandas
from replay.export.write import check_suffix, new_file, write_rows
from replay.past.reads import read_labels, recorded_frames
from replay.past.replayed_frame import ReplayedFrame
from replay.past.selection import Selection
from replay.past.source import Source
from replay.reinspect.run_folder import RunFolder

#: Beginnings of the names of columns that only some frames have.
_FREE = ("signal.", "attribute.")


@dataclass(frozen=True, slots=True)
class Rows:
    """Recipe for rows: sources of frames and labels. Nothing is read before the first call, and each call reads again.

    Parameters
    ----------
    read
        Function that returns the frames, from the first one on, each time it is called.
    truths
        Function that returns the labels; None if the truth is not known.
    variants
        Names of the variants whose decisions ``read`` returns, in their order.
    truth_attribute
        See `replay.analysis.table.build_table`.

    Examples
    --------
    >>> Rows(lambda: iter([])).to_arrow().num_rows
    0
    """

    read: Callable[[], Iterator[ReplayedFrame]]
    truths: Callable[[], LabelIndex] | None = None
    variants: tuple[str, ...] = ()
    truth_attribute: str | None = None

    def table(self) -> Table:
        """Return all rows, for the analysis. Memory: about 1.5 KiB a frame."""
        return self._build(self.read(), self._truths())

    def to_arrow(self) -> Any:
        """Return all rows as a `pyarrow.Table`, see `to_arrow`."""
        pyarrow()
        return to_arrow(self.table())

    def to_pandas(self) -> Any:
        """Return all rows as a `pandas.DataFrame`."""
        pyarrow()
        return to_pandas(self.table())

    def batches(self, rows: int = 10_000) -> Iterator[Any]:
        """Yield the rows, in reading order, as `pyarrow.RecordBatch` of one schema, with at most ``rows`` rows in each.

        Memory: one batch and the labels, for any number of frames. The frames are read once and kept in a temporary
        file, since the signals and attributes are known only at the end. Unlike in `table`, a frame that was published
        twice becomes two rows if more than ``rows`` frames lie between.
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
        """Write all rows to a ``.parquet`` or ``.csv`` file, and return their number.

        Memory: as for `batches` for Parquet, as for `table` for CSV, which needs no pyarrow.

        Raises
        ------
        SettingsError
            See `write_rows`.
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

    def _truths(self) -> LabelIndex | None:
        return None if self.truths is None else self.truths()

    def _build(self, frames: Iterable[ReplayedFrame], truths: LabelIndex | None) -> Table:
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
    """Describe rows of a selection, with the recorded decisions of the line and the labels; nothing is read yet.

    Parameters
    ----------
    selection
        None for all frames.
    with_labels
        True to read labels: all labels since the start of the selection.
    truth_attribute
        Attribute of the frames that states the truth if there is no label.

    Examples
    --------
    >>> from schemas import KafkaSettings
    >>> rows = frames(Source(KafkaSettings()), Selection(lots=("L7",)))
    >>> rows.variants
    ()
    """
    chosen = selection or Selection()
    truths = (lambda: LabelIndex(read_labels(source, chosen.from_us))) if with_labels else None
    return Rows(lambda: recorded_frames(source, chosen), truths, truth_attribute=truth_attribute)


def run_rows(path: Path, source: Source | None = None, *, truth_attribute: str | None = None) -> Rows:
    """Describe rows of a run of ``inspection replay --out``, with the decision of each variant; nothing is read yet.

    Parameters
    ----------
    path
        Folder of the run.
    source
        Source of the labels; None if the truth is not known.
    truth_attribute
        See `frames`.

    Raises
    ------
    RunError
        If the folder is not that of a run.
    """
    run = RunFolder.open(path)
    truths = None if source is None else (lambda: LabelIndex(read_labels(source, run.selection.from_us)))
    return Rows(run.frames, truths, run.variants, truth_attribute)


def _union(pa: Any, schemas: Sequence[Any]) -> Any:
    """Return the union of the columns, and at most as many signals and attributes as a table has, which come last."""
    first, names = schemas[0], list(dict.fromkeys(name for schema in schemas for name in schema.names))
    fixed = [first.field(name) for name in first.names if not name.startswith(_FREE)]
    free = [name for kind in _FREE for name in sorted([one for one in names if one.startswith(kind)][:MAX_COLUMNS])]
    return pa.schema([*fixed, *(pa.field(name, empty_of(pa, name)) for name in free)], metadata=first.metadata)


def _fit(pa: Any, piece: Any, schema: Any) -> Any:
    have = set(piece.column_names)
    columns = [
        piece.column(wanted.name) if wanted.name in have else pa.nulls(len(piece), wanted.type) for wanted in schema
    ]
    return pa.table(columns, schema=schema)
