"""Image files of frames: under names that any file system accepts, all of them or none."""

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
from schemas.errors import SettingsError
from schemas.records import Encoding, Frame
from transport.image_store import ImageStore, ImageStoreError
from transport.stored_message import StoredMessage

_SUFFIXES = {Encoding.JPEG: ".jpg", Encoding.PNG: ".png", Encoding.BMP: ".bmp", Encoding.TIFF: ".tiff"}
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: Maximum characters of a name without suffix: file systems take 255 bytes, and labelling tools add to the name.
_LONGEST = 120
#: Names that Windows takes for devices, whatever follows after a dot.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))})


@dataclass(slots=True)
class Exported:
    """Counts of an export: written files, and frames left out.

    Parameters
    ----------
    path
        Folder of the export.
    images, boxes
        Numbers of image files, and of boxes of defects (COCO).
    truths
        Number of images with a known truth.
    repeated
        Number of further messages of the same frame: the first message counts.
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
    """Image as published, with the format and size in its header, and the name of its file."""

    frame: Frame
    data: bytes
    width: int
    height: int
    file: str


class Pictures:
    """Reader that reads images of frames, names their files, and counts frames without an image.

    Memory: about 200 bytes a frame.

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

    def of(self, found: StoredMessage[Frame]) -> Picture | None:
        """Return the image of a message; count it and return None if it has no usable image."""
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
        """Return a file name for a frame, without suffix.

        The name is the frame id if any file system accepts it, else a similar name with a hash. Two names never differ
        in case alone.
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
    """Return the bytes of a frame's image, checked against the hash from the camera.

    Raises
    ------
    ImageStoreError
        If the image is in a store and cannot be read, or if no ``store`` is given.
    ImageError
        ``altered-image`` if the bytes do not match the hash.
    """
    if frame.image is None:
        if store is None or frame.reference is None:
            raise ImageStoreError("image-by-reference", "the image lies in a store, and no store is named")
        return store.get(frame.reference, frame.sha256)
    if hashlib.sha256(frame.image).hexdigest() != frame.sha256.lower():
        raise ImageError("altered-image", "the bytes do not have the sha256 that the camera gave them")
    return frame.image


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the target, which gets the target's name at the end; delete it after an error.

    Raises
    ------
    SettingsError
        If the target exists and is not an empty folder, or cannot be written.
    """
    temporary: Path | None = None
    try:
        if path.is_symlink() or (path.exists() and not path.is_dir()) or (path.is_dir() and any(path.iterdir())):
            raise SettingsError(f"{path} exists and is not empty; name an empty or new folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `tempfile.mkdtemp`: the folder should get the mode that the umask allows.
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")
        temporary.mkdir()
        yield temporary
        # POSIX lets a folder replace an empty folder only.
        temporary.rename(path)
        temporary = None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(temporary)
