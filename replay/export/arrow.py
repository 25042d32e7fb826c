"""Arrow form of a table: typed, so that a reader does not have to guess types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from replay.analysis.table import DEFECTIVE, UNKNOWN, Column, Table
from schemas.errors import SettingsError

#: Text columns in which nearly each row has its own text: a dictionary would only add size.
_UNLIKE = ("frame_id", "part_id", "image_sha256", "reason", "path", "defects")
#: Key of the schema's metadata with the names of the deciders, as a JSON list.
DECIDERS = b"deciders"


def pyarrow() -> Any:
    """Import pyarrow, which is an optional package.

    Raises
    ------
    SettingsError
        If it is not installed.
    """
    try:
        import pyarrow as package
    except ImportError as error:
        raise SettingsError("Arrow and Parquet need pyarrow: pip install 'streaming-inspection[analysis]'") from error
    return package


def to_arrow(table: Table) -> Any:
    """Return a `pyarrow.Table` with the columns of a table, in their order and by their names, with two exceptions.

    ==================================  ===============================================================================
    here                                from
    ==================================  ===============================================================================
    ``is_defective``, bool              ``truth``; null: unknown
    ``recorded.is_late``, bool          the column of that name; null: the frame had no deadline
    ``..._at_us``, ``timestamp_us``     timestamp[us, UTC], if they are whole numbers
    texts                               dictionary of string, or string where nearly each row has its own; null: no text
    other numbers                       float64, null: no number; int64
    ==================================  ===============================================================================

    Raises
    ------
    SettingsError
        If pyarrow is not installed.

    Examples
    --------
    >>> from replay.analysis.table import build_table
    >>> to_arrow(build_table([])).schema.field("captured_at_us").type
    TimestampType(timestamp[us, tz=UTC])
    """
    return arrow_columns(exported(table), {DECIDERS: json.dumps(table.deciders)})


def exported(table: Table) -> Mapping[str, Column]:
    """Return the columns of a table by the names that they have in files."""
    return {"is_defective" if name == "truth" else name: column for name, column in table.columns.items()}


def arrow_columns(columns: Mapping[str, Column], metadata: Mapping[bytes, str] | None = None) -> Any:
    """Return columns of one length as a `pyarrow.Table`, with the types of `to_arrow`.

    Raises
    ------
    SettingsError
        If pyarrow is not installed.
    """
    pa = pyarrow()
    arrays = [_array(pa, name, column) for name, column in columns.items()]
    return pa.table(arrays, names=list(columns), metadata=metadata)


def to_pandas(table: Table) -> Any:
    """Return a `pandas.DataFrame` with the columns of `to_arrow`.

    Raises
    ------
    SettingsError
        If pyarrow or pandas is not installed.
    """
    try:
        import pandas as _  # noqa: F401
    except ImportError as error:
        raise SettingsError("a DataFrame needs pandas: pip install 'streaming-inspection[analysis]'") from error
    return to_arrow(table).to_pandas()


def empty_of(pa: Any, name: str) -> Any:
    """Return the Arrow type of a column that exists only for some rows: a signal or an attribute."""
    return pa.float64() if name.startswith("signal.") else pa.dictionary(pa.int32(), pa.string())


def is_time(name: str, column: Column) -> bool:
    """Return True for a column of times, UTC µs; False for an attribute or a signal that only has such a name.

    Examples
    --------
    >>> is_time("captured_at_us", np.zeros(1, np.int64)), is_time("attribute.captured_at_us", np.array(["5"], object))
    (True, False)
    """
    return column.dtype == np.int64 and (name.endswith("_at_us") or name == "timestamp_us")


def _array(pa: Any, name: str, column: Column) -> Any:
    if column.dtype == np.int8:
        return pa.array(column == DEFECTIVE, pa.bool_(), mask=column == UNKNOWN)
    if is_time(name, column):
        return pa.array(column, pa.int64()).cast(pa.timestamp("us", "UTC"))
    if column.dtype == object:
        texts = pa.array(column, pa.string())
        return texts if name.endswith(_UNLIKE) else texts.dictionary_encode()
    return pa.array(column, from_pandas=True)
