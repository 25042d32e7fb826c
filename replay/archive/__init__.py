"""Archive: messages kept beyond the retention of the topics, as Avro files behind any fsspec URI, with an index.

::

    sink      topics -> batches -> data files -> commit
    reader    commits -> files -> messages, for `replay.past.source.Source`
    verify    compares commits with files: reports missing, damaged and leftover files
"""

from replay.archive.collector import SinkOptions, SinkReport
from replay.archive.errors import ArchiveError
from replay.archive.reader import Archive
from replay.archive.sink import ArchiveSink
from replay.archive.store import ArchiveStore

__all__ = ["Archive", "ArchiveError", "ArchiveSink", "ArchiveStore", "SinkOptions", "SinkReport"]
