"""Masks among the images of a training: pictures that mark the defects of other images."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from models.errors import ImageError
from models.image_folder import read_image_file
from models.images import decode
from schemas.text import file_text

#: Names of folders of masks, in lower case.
_FOLDERS = frozenset({"ground_truth", "groundtruth", "gt", "mask", "masks", "mask_images", "annotations"})
#: End of the name of a mask, behind the name of its image.
_WORD = re.compile(r"[ ._-]?(?:mask|gt|ground[ _-]?truth|labels?|seg|segmentation)$", re.IGNORECASE)


def without_masks(root: Path, images: Sequence[Path], good: Sequence[str]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the images that are no masks, and lines about the others.

    Masks lie in a folder of masks, on any level; or beside their image, with its name: ``7.jpg`` and ``7.png``, or
    ``7.png`` and ``7_mask.png``. Of the latter, a mask is what has two values at most, unless all have.

    Parameters
    ----------
    good
        Names of the folders of good parts, which are no folders of masks.
    """
    kept, in_folders = _by_folder(root, images, good)
    beside = _beside(kept)
    notes = [in_folders] if in_folders else []
    if beside:
        what = "image is" if len(beside) == 1 else "images are"
        notes.append(
            f"{len(beside)} {what} left out, as masks of defects with the name of the image beside them and two values "
            f"at most, such as {file_text(min(beside).relative_to(root))}"
        )
    return tuple(path for path in kept if path not in beside), tuple(notes)


def _by_folder(root: Path, images: Sequence[Path], good: Sequence[str]) -> tuple[Sequence[Path], str]:
    """Return the images that lie in no folder of masks, and a line about the others; all images if all do."""
    masks = Counter[str]()
    kept = []
    for path in images:
        folders = path.relative_to(root).parts[:-1]
        name = next((each for each in folders if each.lower() in _FOLDERS and each not in good), None)
        if name is None:
            kept.append(path)
        else:
            masks[file_text(name)] += 1
    count = masks.total()
    if not count or not kept:
        return images, ""
    what = "image is" if count == 1 else "images are"
    return kept, f"{count} {what} left out, as masks of defects by the name of the folder: {', '.join(sorted(masks))}"


def _beside(images: Sequence[Path]) -> set[Path]:
    """Return the masks among images of one folder and one name."""
    stems = {(path.parent, path.stem) for path in images}
    groups = defaultdict[tuple[Path, str], list[Path]](list)
    for path in images:
        base = _WORD.sub("", path.stem)
        groups[path.parent, base if (path.parent, base) in stems else path.stem].append(path)
    found = set[Path]()
    for group in groups.values():
        masks = {path for path in group if _has_two_values(path)} if len(group) > 1 else set()
        if len(masks) < len(group):
            found |= masks
    return found


def _has_two_values(path: Path) -> bool:
    try:
        pixels = decode(read_image_file(path)).pixels
    except (ImageError, OSError):
        return False  # named when all images are read
    return bool(((pixels == pixels.min()) | (pixels == pixels.max())).all())
