"""Position of a consumer of decisions, kept in a file."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import MappingProxyType

from schemas.errors import SettingsError
from schemas.private_files import lock_private, make_private_folder, read_private, replace_private
from schemas.text import shown

log = logging.getLogger(__name__)


class Watermark:
    """Next offset of each partition of a topic, in ``<state_dir>/<topic>.offsets.json``.

    Each `advance` replaces the file atomically, so that it is always complete, whatever kills the process. Only `close`
    flushes it to the device: a power cut may set it back by the last seconds. The age check of the consumer then
    prevents a second delivery of those decisions. A file that is not a watermark counts as missing, with a log line. A
    lock excludes a second process.

    Parameters
    ----------
    state_dir
        Directory; created if missing.
    topic
        Topic of the offsets.

    Raises
    ------
    SettingsError
        If the directory cannot be written or is in use, or the file cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> directory = Path(tempfile.mkdtemp())
    >>> watermark = Watermark(directory, "decisions")
    >>> watermark.begin({0: 7})
    >>> watermark.advance(0, 8)
    True
    >>> watermark.close()
    >>> again = Watermark(directory, "decisions")
    >>> dict(again.offsets)
    {0: 8}
    >>> again.close()
    """

    def __init__(self, state_dir: Path, topic: str) -> None:
        self._topic = topic
        self._path = state_dir / f"{topic}.offsets.json"
        lock_path = self._path.with_suffix(".lock")
        try:
            make_private_folder(state_dir)
            lock = lock_private(lock_path)
        except OSError as error:
            raise SettingsError(
                f"cannot write state into {state_dir}: {lock_path.name}: {error.strerror or error}"
            ) from error
        if lock is None:
            raise SettingsError(f"{state_dir} is in use by another consumer of {topic}")
        self._lock = lock
        self._topic_id: str | None = None
        try:
            self._offsets = self._read()
        except SettingsError:
            self._lock.close()
            raise
        self.errors = 0

    @property
    def topic_id(self) -> str | None:
        """Kafka's id of the topic of these offsets; None if the file does not name it."""
        return self._topic_id

    @property
    def offsets(self) -> MappingProxyType[int, int]:
        """Next offset by partition; empty on the first run."""
        return MappingProxyType(self._offsets)

    def begin(self, offsets: dict[int, int], topic_id: str | None = None) -> None:
        """Set all offsets and the topic's id, so that a restart before the first message skips nothing."""
        self._offsets = dict(offsets)
        self._topic_id = topic_id
        self._write(fsync=True)

    def drop_if_recreated(self, topic_id: str | None) -> None:
        """Drop the offsets if the topic has been re-created; those of the new topic follow."""
        if topic_id != self._topic_id:
            self._topic_id = topic_id
            self._offsets = {}

    def advance(self, partition: int, next_offset: int) -> bool:
        """Advance one partition; if the file cannot be written, count that in ``errors`` and return False."""
        self._offsets[partition] = next_offset
        try:
            self._write(fsync=False)
        except SettingsError:
            self.errors += 1
            return False
        return True

    def close(self) -> None:
        """Flush the file to the device and unlock it. Idempotent."""
        if self._lock.closed:
            return
        try:
            self._write(fsync=True)
        except SettingsError as error:
            log.error("%s", error)
        finally:
            self._lock.close()

    def _read(self) -> dict[int, int]:
        try:
            data = read_private(self._path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SettingsError(f"cannot read {self._path}: {error.strerror or error}") from error
        try:
            stored = json.loads(data)
            if stored["topic"] != self._topic:
                raise ValueError(f"offsets of topic {stored['topic']!r}")
            topic_id = stored.get("topic_id")
            self._topic_id = topic_id if isinstance(topic_id, str) else None
            return {int(partition): int(offset) for partition, offset in stored["next_offsets"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            # After a power cut the file may be empty. The parts on the belt then get the fail-safe action.
            log.error("%s is not a watermark (%s): reading begins at the topic's end", self._path, shown(error))
            self._topic_id = None
            return {}

    def _write(self, *, fsync: bool) -> None:
        stored = {
            "topic": self._topic,
            "topic_id": self._topic_id,
            "next_offsets": {str(p): o for p, o in sorted(self._offsets.items())},
        }
        try:
            replace_private(self._path, json.dumps(stored).encode(), sync=fsync)
        except OSError as error:
            raise SettingsError(f"cannot write {self._path}: {error.strerror or error}") from error
