"""The archive: what topics forget, as Avro container files behind any fsspec URI, and the index over them.

::

    sink      topics -> batches -> data files -> commit
    reader    commits -> files -> messages, for `replay.source.Source`
    verify    commits against files: what is missing, damaged, left over
"""

from replay.archive.collector import SinkOptions, SinkReport
from replay.archive.errors import ArchiveError
from replay.archive.reader import Archive
from replay.archive.sink import ArchiveSink
from replay.archive.store import Store

__all__ = ["Archive", "ArchiveError", "ArchiveSink", "SinkOptions", "SinkReport", "Store"]
