"""Images of frames as files: under names that any file system takes, all of them or none."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from models.errors import ImageError
from models.images import image_header
from replay.stored import Stored
from schemas.errors import SettingsError
from schemas.image_store import ImageStore, ImageStoreError
from schemas.records import Encoding, Frame

_SUFFIXES = {Encoding.JPEG: ".jpg", Encoding.PNG: ".png", Encoding.BMP: ".bmp", Encoding.TIFF: ".tiff"}
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: Longest name without its suffix, in characters: file systems take 255 bytes, labelling tools add to it.
_LONGEST = 120
#: Names that Windows takes for devices, whatever follows after a dot.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))})


@dataclass(slots=True)
class Exported:
    """What an export wrote, and what it left out.

    Parameters
    ----------
    path
        The folder.
    images, boxes
        Files with images; boxes of defects beside them (COCO).
    truths
        Images of which the truth is known.
    repeated
        Further messages of one and the same frame: the first one counts.
    left_out
        Frames without a usable image, by reason.
    """

    path: Path
    images: int = 0
    boxes: int = 0
    truths: int = 0
    repeated: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Picture(NamedTuple):
    """An image as it was published, its format and size as its header says them, and the name of its file."""

    frame: Frame
    data: bytes
    width: int
    height: int
    file: str


class Pictures:
    """Reads images of frames and names their files; counts what has none. Memory: some 200 bytes a frame.

    Examples
    --------
    >>> names = Pictures(None, Exported(Path("x")))
    >>> names.name("press.top.1.00000001"), names.name("../../etc/passwd"), names.name("PRESS.top.1.00000001")
    ('press.top.1.00000001', '_.._.._etc_passwd-3754d6cb3a38e118', 'PRESS.top.1.00000001-e3298bd38a79ded0')
    """

    def __init__(self, store: ImageStore | None, counts: Exported) -> None:
        self._store = store
        self._counts = counts
        self._frames: set[str] = set()
        self._names: set[str] = set()

    def of(self, found: Stored[Frame]) -> Picture | None:
        """The image of a message; None, counted, where there is none that could be shown."""
        frame = found.record
        if frame is None:
            self._counts.left_out["no frame"] += 1
            return None
        if frame.frame_id in self._frames:
            self._counts.repeated += 1
            return None
        try:
            data = image_of(frame, self._store)
            header = image_header(data)
        except (ImageError, ImageStoreError) as error:
            self._counts.left_out[error.kind] += 1
            return None
        self._frames.add(frame.frame_id)
        return Picture(frame, data, header.width, header.height, self.name(frame.frame_id) + _SUFFIXES[header.encoding])

    def name(self, frame_id: str) -> str:
        """A file name for a frame, without suffix: its id where any file system takes it, else a likeness and a hash.

        Two names never differ in case alone.
        """
        name = frame_id
        is_safe = _SAFE.fullmatch(name) and len(name) <= _LONGEST and not name.endswith(".")
        if not is_safe or name.partition(".")[0].lower() in _DEVICES or name.lower() in self._names:
            likeness = re.sub(r"[^A-Za-z0-9_.-]", "_", name[:_LONGEST])
            likeness = re.sub(r"^(?=[.-]|$)", "_", likeness)
            digest = hashlib.sha256(frame_id.encode(errors="surrogatepass")).hexdigest()[:16]
            head, dot, rest = likeness.partition(".")
            name = f"{head}_{dot}{rest}-{digest}" if head.lower() in _DEVICES else f"{likeness}-{digest}"
        self._names.add(name.lower())
        return name


def image_of(frame: Frame, store: ImageStore | None) -> bytes:
    """The bytes of a frame's image, checked against the hash that the camera gave them.

    Raises
    ------
    ImageStoreError
        If the image lies in a store and cannot be read, or ``store`` is None.
    ImageError
        ``altered-image`` if it is another one.
    """
    if frame.image is None:
        if store is None or frame.reference is None:
            raise ImageStoreError("image-by-reference", "the image lies in a store, and none is named")
        return store.get(frame.reference, frame.sha256)
    if hashlib.sha256(frame.image).hexdigest() != frame.sha256.lower():
        raise ImageError("altered-image", "the bytes do not have the sha256 that the camera gave them")
    return frame.image


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder beside the target that takes its name at the end; gone if anything goes wrong.

    Raises
    ------
    SettingsError
        If there is something under that name already, or it cannot be written.
    """
    temporary: Path | None = None
    try:
        if path.is_symlink() or (path.exists() and not path.is_dir()) or (path.is_dir() and any(path.iterdir())):
            raise SettingsError(f"{path}: is there already, and not empty; name a folder that is not")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `tempfile.mkdtemp`, so that the folder gets the mode that the umask leaves.
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
        temporary.mkdir()
        yield temporary
        # POSIX lets a folder take the place of an empty one, and of no other.
        temporary.rename(path)
        temporary = None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(temporary)
