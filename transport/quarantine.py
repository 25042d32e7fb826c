"""File of the frames in hand: a message that killed a worker is recognised when it comes back.

Each worker process has a small file in the folder of its group. Before a message is read, its place is written into
a slot of that file; the slot is emptied when the message has been answered::

    <state_dir>/worker/<group>/<random>.hand      slots of one process; locked while it lives
    <state_dir>/worker/<group>/suspects.json      messages that were in hand when a process died, with a count of deaths
    <state_dir>/worker/<group>/suspects.lock      held for a moment by each reader or writer of them

The files are mapped into memory: a write costs about a microsecond, and the kernel keeps it when the process is killed.
A lock tells the file of a living process from that of a dead one; the messages in hand of a dead one become suspects.
A message is identified by partition, offset, length and a checksum of its first bytes, so a re-created topic with the
same offsets brings no false suspects.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import mmap
import os
import stat
import struct
import threading
import time
import uuid
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

from schemas.private_files import lock_private, make_private_folder, open_private, replace_private
from transport.deaths import Deaths

log = logging.getLogger(__name__)

#: Variable with the folder for state; the option ``--state-dir`` overrides it.
STATE_DIR_VARIABLE = "INSPECTION_STATE_DIR"
#: Number of deaths after which a message is answered unread.
DEADLY = 2

_MAGIC = b"inspection-hand1".ljust(32, b"\0")
#: State, hung, nothing, partition, offset, checksum of the first bytes, length; then a checksum of these.
_BODY = struct.Struct("<BBxxiqII")
_SLOT_BYTES = 32
_SLOTS = 1024
_FILE_BYTES = len(_MAGIC) + _SLOTS * _SLOT_BYTES
_EMPTY = bytes(_SLOT_BYTES)
#: Number of first bytes of a message in its checksum: identity and digest of a frame lie there.
_HEAD_BYTES = 2048
#: A message that is in hand alone for longer than this, when the watchdog ends the process, hangs.
_HANGS_S = 1.0
#: Bounds on reading from the folder.
_MOST_FILES, _MOST_SUSPECTS, _MOST_JSON_BYTES = 1_000, 1_000, 1_000_000
_FORGET_S = 7 * 24 * 3600.0
#: Longest time to wait for the lock, which others hold for a moment.
_LOCKED_S = 3.0
#: Time after an answer in which its offset is committed, with room to spare.
_COMMITTED_S = 60.0


class Stage(IntEnum):
    """Stage of a message in hand: its record is being read, or its image inspected."""

    RECORD = 1
    IMAGE = 2


@dataclass(frozen=True, slots=True)
class Suspect:
    """Message that was in hand when a process died, ``deaths`` times so far, the last time at ``stage``."""

    partition: int
    offset: int
    checksum: int
    size: int
    stage: int
    deaths: int
    seen_at_s: float


#: Identity of a message: partition, offset, checksum of its first bytes, length.
MessageKey = tuple[int, int, int, int]


def key_of(partition: int, offset: int, value: bytes | None) -> MessageKey:
    """Return the identity of a message.

    Examples
    --------
    >>> key_of(0, 7, b"frame") == key_of(0, 7, b"other")
    False
    """
    value = value or b""
    return partition, offset, zlib.crc32(value[:_HEAD_BYTES]), len(value)


class Quarantine:
    """Files of one process of a group.

    Parameters
    ----------
    folder
        Folder of the group, see `folder_of`; None: no file is kept.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> dead = Quarantine(folder)
    >>> slot = dead.enter(key_of(0, 7, b"frame"), Stage.IMAGE)
    >>> dead.abandon()  # as the kernel does when a process is killed
    >>> Quarantine(folder).suspect(key_of(0, 7, b"frame")).deaths
    1
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._free: deque[int] = deque(range(_SLOTS))
        self._since: dict[int, tuple[float, bool]] = {}
        self._suspects: dict[MessageKey, Suspect] = {}
        self._answered: deque[tuple[float, MessageKey]] = deque()
        self._changing = threading.Lock()
        self._map: mmap.mmap | None = None
        self._fd = -1
        #: Deaths of processes that were found here, or by another process of the group.
        self.deaths = Deaths(folder)
        if folder is None:
            return
        try:
            self._open(folder)
        except (OSError, ValueError) as error:
            self._folder = None
            log.warning(
                "%s cannot be used (%s): a message that ends this process will not be recognised at the next start; "
                "name a folder with --state-dir or %s", folder, error, STATE_DIR_VARIABLE,
            )  # fmt: skip
            return
        self.look()

    @property
    def has_suspects(self) -> bool:
        """True if any message is known that was in hand when a process died."""
        return bool(self._suspects)

    def enter(self, key: MessageKey, stage: Stage, *, is_alone: bool = True) -> int | None:
        """Put a message into a slot; ``is_alone`` if its thread has no other message in hand at the same time."""
        if self._map is None:
            return None
        try:
            slot = self._free.popleft()
        except IndexError:
            return None
        self._since[slot] = time.monotonic(), is_alone
        self._write(slot, _packed(stage, False, key))
        return slot

    def leave(self, slot: int | None) -> None:
        """Empty a slot: its message has been answered."""
        if slot is None:
            return
        self._write(slot, _EMPTY)
        self._since.pop(slot, None)
        self._free.append(slot)

    def hung(self, least_s: float = _HANGS_S) -> None:
        """Note, before the process is ended because it stands still, the message that is longest in hand, if it hangs.

        It hangs after ``least_s``. The others may wait for it, as for its memory; and a message that its thread works
        on together with others is not known to hang. These stay suspects of one death.
        """
        since = sorted((since_s, slot, is_alone) for slot, (since_s, is_alone) in list(self._since.items()))
        if not since or self._map is None:
            return
        since_s, slot, is_alone = since[0]
        if is_alone and time.monotonic() - since_s >= least_s:
            found = _unpacked(self._map[_at(slot) : _at(slot) + _SLOT_BYTES])
            if found is not None:
                stage, _, key = found
                self._write(slot, _packed(stage, True, key))

    def suspect(self, key: MessageKey) -> Suspect | None:
        """Return the suspect of a message, if it is one."""
        return self._suspects.get(key) if self._suspects else None

    def convict(self, key: MessageKey) -> None:
        """Record that a message failed its trial: from now on every process of the group answers it unread."""
        if (known := self._suspects.get(key)) is not None:
            self._change(key, replace(known, deaths=max(known.deaths, DEADLY)))

    def clear(self, key: MessageKey) -> None:
        """Forget a suspect: its message has been answered."""
        if key in self._suspects:
            self._change(key, None)

    def answered(self, key: MessageKey) -> None:
        """Note that a suspect has its answer: it is forgotten when that is committed."""
        if key in self._suspects:
            self._answered.append((time.monotonic(), key))

    def forget_answered(self, after_s: float = _COMMITTED_S) -> None:
        """Forget suspects that were answered so long ago, whose offsets are committed."""
        while self._answered and time.monotonic() - self._answered[0][0] >= after_s:
            with contextlib.suppress(IndexError):  # another thread was faster
                self.clear(self._answered.popleft()[1])

    def look(self) -> None:
        """Read the files that dead processes of the group have left. Call it at each assignment of partitions."""
        if self._folder is None:
            return
        try:
            with self._changing, contextlib.ExitStack() as files:
                with self._locked(self._folder) as suspects:
                    dead = [(path, files.enter_context(file)) for path, file in self._left_by_the_dead(self._folder)]
                    for key, stage, deaths in (each for path, file in dead for each in _in_hand(path, file.fileno())):
                        known = suspects.get(key)
                        deaths += known.deaths if known is not None else 0
                        suspects[key] = Suspect(*key, stage=stage, deaths=deaths, seen_at_s=time.time())
                    self._suspects = dict(suspects)
                # Only now: after a full disk or a kill the next process finds them again.
                for path, _ in dead:
                    path.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            log.warning("%s: what dead workers have left cannot be read: %s", self._folder, error)
            return
        if self._suspects:
            log.warning("%d frames were in hand when a worker of this group died", len(self._suspects))

    def close(self) -> None:
        """Remove the file, unless a message is in hand still; the process has committed what it has answered."""
        self.forget_answered(0.0)
        if self._folder is not None and self._map is not None and not self._since:
            self._path.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Close the file and leave it as it is."""
        if self._map is not None:
            self._map.close()
            self._map = None
            os.close(self._fd)

    def _open(self, folder: Path) -> None:
        make_private_folder(folder)
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
            raise ValueError("it must be a folder of this user that nobody else can write to")
        self._path = folder / f"{uuid.uuid4().hex}.hand"
        with self._locked(folder):  # a file that is not locked yet must not look like that of a dead process
            self._fd = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The space is reserved: on a full disk a write into a hole of a sparse file would end the process.
        os.posix_fallocate(self._fd, 0, _FILE_BYTES)
        self._map = mmap.mmap(self._fd, _FILE_BYTES)
        self._map[: len(_MAGIC)] = _MAGIC

    def _write(self, slot: int, content: bytes) -> None:
        mapped = self._map
        if mapped is not None:
            mapped[_at(slot) : _at(slot) + _SLOT_BYTES] = content

    def _change(self, key: MessageKey, suspect: Suspect | None) -> None:
        def put(suspects: dict[MessageKey, Suspect]) -> None:
            suspects.pop(key, None)
            if suspect is not None:
                suspects[key] = suspect

        with self._changing:
            ours = dict(self._suspects)  # replaced as a whole: other threads read it
            put(ours)
            self._suspects = ours
            if self._folder is None:
                return
            try:
                with self._locked(self._folder) as suspects:
                    put(suspects)
            except (OSError, ValueError) as error:
                log.warning("%s: suspects cannot be written: %s", self._folder, error)

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[dict[MessageKey, Suspect]]:
        """Yield the suspects of the group under the lock; write them afterwards if the block has changed them."""
        lock = lock_private(folder / "suspects.lock", wait_s=_LOCKED_S)
        if lock is None:
            raise TimeoutError(errno.ETIMEDOUT, f"another process has held suspects.lock for {_LOCKED_S:.0f} s")
        with lock:
            suspects = _suspects(folder / "suspects.json")
            before = dict(suspects)
            yield suspects
            newest = sorted(suspects.items(), key=lambda each: each[1].seen_at_s)[-_MOST_SUSPECTS:]
            if dict(newest) != before:
                rows = json.dumps([asdict(each) for _, each in newest])
                replace_private(folder / "suspects.json", rows.encode(), sync=False)

    def _left_by_the_dead(self, folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
        """Yield the files of dead processes, open and locked: no other process takes them meanwhile."""
        for path in sorted(folder.glob("*.hand"))[:_MOST_FILES]:
            if path == self._path:
                continue
            try:
                fd = open_private(path, os.O_RDWR)
            except OSError as error:
                log.warning("%s: cannot be read: %s", path, error.strerror)
                continue
            file = os.fdopen(fd, "rb")
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()  # its process is alive
            else:
                self.deaths.found()
                yield path, file


def _at(slot: int) -> int:
    return len(_MAGIC) + slot * _SLOT_BYTES


def _packed(stage: int, is_hung: bool, key: MessageKey) -> bytes:
    partition, offset, checksum, size = key
    body = _BODY.pack(stage, is_hung, partition, offset, checksum, size & 0xFFFFFFFF)
    return (body + zlib.crc32(body).to_bytes(4, "little")).ljust(_SLOT_BYTES, b"\0")


def _unpacked(slot: bytes) -> tuple[int, bool, MessageKey] | None:
    body, check = slot[: _BODY.size], slot[_BODY.size : _BODY.size + 4]
    if not any(slot) or zlib.crc32(body).to_bytes(4, "little") != check:
        return None
    stage, is_hung, partition, offset, checksum, size = _BODY.unpack(body)
    if stage not in tuple(Stage):
        return None
    return stage, bool(is_hung), (partition, offset, checksum, size)


def _in_hand(path: Path, fd: int) -> list[tuple[MessageKey, int, int]]:
    about = os.fstat(fd)
    content = os.pread(fd, _FILE_BYTES, 0) if stat.S_ISREG(about.st_mode) else b""
    if not content.startswith(_MAGIC):
        log.warning("%s: not a file of frames in hand of this version; it is removed", path)
        return []
    found, unreadable = [], 0
    for at in range(len(_MAGIC), len(content), _SLOT_BYTES):
        slot = content[at : at + _SLOT_BYTES]
        unpacked = _unpacked(slot)
        if unpacked is not None:
            stage, is_hung, key = unpacked
            found.append((key, stage, DEADLY if is_hung else 1))
        else:
            unreadable += any(slot)
    if unreadable:
        log.warning("%s: %d slots cannot be read and are left out", path, unreadable)
    return found


def _suspects(path: Path) -> dict[MessageKey, Suspect]:
    """Return the content of the file of suspects; a file that cannot be read counts as empty, with a log line."""
    try:
        fd = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return {}
    with os.fdopen(fd, "rb") as file:
        content = file.read(_MOST_JSON_BYTES)
    try:
        suspects = [_suspect(row) for row in json.loads(content)]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        log.warning("%s cannot be read and counts as empty: %s", path, error)
        return {}
    recent = [each for each in suspects if abs(time.time() - each.seen_at_s) < _FORGET_S]
    return {(each.partition, each.offset, each.checksum, each.size): each for each in recent}


def _suspect(row: Mapping[str, Any]) -> Suspect:
    numbers = {name: int(row[name]) for name in Suspect.__slots__ if name != "seen_at_s"}
    return Suspect(**numbers, seen_at_s=float(row["seen_at_s"]))
