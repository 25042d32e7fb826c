"""aiokafka's reader of batches, made to live with header names that are not UTF-8.

Kafka takes any bytes as the name of a header. aiokafka 0.14 (pinned) decodes them strictly while it reads a batch, so
one such message ends the consumer, and every restart of it. Here the batch is read on by aiokafka's reader in Python,
with ``?`` for each byte of such a name that is not ASCII; all other batches are read as before, by the one in C.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.record.util import decode_varint


def tolerate_header_names() -> None:
    """Make all consumers of this process read such messages; once is enough, twice does no harm."""
    fetcher.MemoryRecords = TolerantRecords


class TolerantRecords:
    """What a fetch has brought, batch by batch; stands in for aiokafka's ``MemoryRecords``.

    Parameters
    ----------
    data
        The record set as it came from the broker.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._taken = 0

    def size_in_bytes(self) -> int:
        """Bytes of the record set."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Whether there is another batch."""
        return bool(self._records.has_next())

    def next_batch(self) -> TolerantBatch | None:
        """The next batch, None after the last."""
        batch = self._records.next_batch()
        self._taken += 1
        return None if batch is None else TolerantBatch(batch, self._data, self._taken - 1)


class TolerantBatch:
    """One batch: aiokafka's own, until a record of it cannot be read."""

    def __init__(self, batch: Any, data: bytes, index: int) -> None:
        self._batch = batch
        self._data = data
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                read += 1
                yield record
        except UnicodeDecodeError:
            yield from islice(_MendedBatch(self._slice()), read, None)

    def _slice(self) -> memoryview:
        records = _MemoryRecordsPy(self._data)
        for _ in range(self._index):
            records.next_batch()
        return memoryview(records._next_slice)


class _MendedBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final, but only for readers of types
    """Replaces in the batch what keeps a record from being read, and reads on."""

    def _read_msg(self, *_: Any) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            self._mend_names()
            return super()._read_msg()

    def _mend_names(self) -> None:
        """Put ASCII of the same length into the header names of the record at hand (KIP-98, "Record")."""
        buffer, pos = self._buffer, self._pos
        for _ in ("length", "attributes", "timestamp", "offset"):
            _, pos = decode_varint(buffer, pos)
        for _ in ("key", "value"):
            size, pos = decode_varint(buffer, pos)
            pos += max(0, size)
        count, pos = decode_varint(buffer, pos)
        for _ in range(count):
            size, pos = decode_varint(buffer, pos)
            buffer[pos : pos + size] = _ascii(bytes(buffer[pos : pos + size]))
            pos += size
            size, pos = decode_varint(buffer, pos)
            pos += max(0, size)


def _ascii(name: bytes) -> bytes:
    """The name, if it is UTF-8; else the same with ``?`` for what is not ASCII.

    Examples
    --------
    >>> _ascii("Prüfer".encode()).decode(), _ascii("Prüfer".encode("latin-1"))
    ('Prüfer', b'Pr?fer')
    """
    try:
        name.decode()
    except UnicodeDecodeError:
        return bytes(byte if byte < 0x80 else ord("?") for byte in name)
    return name
