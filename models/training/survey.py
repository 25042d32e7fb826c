"""Survey of a folder of images before a training: what is there, what is broken, and what is there twice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.image_folder import list_images
from models.training.features import Colour

#: Names of folders that hold good parts, in lower case.
GOOD_FOLDERS = frozenset({"good", "ok", "normal", "functional", "pass", "accept", "no_defect", "good_parts"})
#: Most images that are learned from; more are sampled evenly.
MOST_IMAGES = 2_000
#: Files that cannot be read and are named one by one.
_NAMED = 5
#: Least mean difference of colour channels, in grey levels, of an image that has colour.
_LEAST_COLOUR = 2.0


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """Files of a training: good parts, and defective parts by the name of their folder.

    Parameters
    ----------
    root
        Folder that all paths lie in.
    good
        Images of good parts, sorted.
    defects
        Images of each other folder.
    """

    root: Path
    good: tuple[Path, ...]
    defects: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> TrainingFolder:
        """List a folder.

        If one of its sub-folders is named as good parts are (``good``, ``ok``, ``normal`` ...), every other sub-folder
        holds defective parts. Otherwise all images of the folder, at all levels, are good parts.

        Raises
        ------
        OSError
            If the folder cannot be listed.
        """
        images = list_images(root).images
        top = {path: path.relative_to(root).parts[0] for path in images if len(path.relative_to(root).parts) > 1}
        if not any(name.lower() in GOOD_FOLDERS for name in top.values()):
            return cls(root, images)
        defects: dict[str, list[Path]] = {}
        for path, name in top.items():
            if name.lower() not in GOOD_FOLDERS:
                defects.setdefault(name, []).append(path)
        good = tuple(path for path in images if top.get(path, "").lower() in GOOD_FOLDERS)
        return cls(root, good, {name: tuple(paths) for name, paths in sorted(defects.items())})


def sampled(paths: Sequence[Path], most: int = MOST_IMAGES) -> list[Path]:
    """Return at most this many paths, evenly spread over the sequence.

    Examples
    --------
    >>> [path.name for path in sampled([Path(f"{number}") for number in range(10)], 4)]
    ['0', '2', '5', '7']
    """
    step = max(1.0, len(paths) / most)
    return [paths[int(number * step)] for number in range(min(most, len(paths)))]


@dataclass(slots=True)
class Survey:
    """Findings about the images, collected while they are read.

    Parameters
    ----------
    found
        Images in the folder.
    broken
        Path and reason of each image that cannot be used.
    sizes
        Number of images of each width and height.
    repeated
        Number of images whose features are exactly those of an earlier image: copies, also under another format.
    alike
        Number of images that can hardly be told from their predecessor.
    """

    found: int
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    repeated: int = 0
    alike: int = 0
    colour: Colour = "grey"

    @property
    def usable(self) -> int:
        """Number of images that are learned from."""
        return self.sizes.total()

    def lines(self, root: Path) -> list[str]:
        """Return the findings as lines for a person."""
        sizes = ", ".join(f"{width}x{height} ({count})" for (width, height), count in self.sizes.most_common(3))
        more = f" and {len(self.sizes) - 3} more sizes" if len(self.sizes) > 3 else ""
        lines = [f"{self.usable} of {self.found} images of good parts, {self.colour}: {sizes}{more}"]
        if self.found > MOST_IMAGES:
            lines.append(f"every {self.found / MOST_IMAGES:.1f}th image was taken: {MOST_IMAGES} are enough")
        if self.repeated:
            lines.append(f"{self.repeated} files are exact copies of others and were left out")
        if self.alike:
            lines.append(
                f"{self.alike} images are nearly the same as the one before: few different parts, or a still line"
            )
        if len({round(width / height, 1) for width, height in self.sizes}) > 1:
            lines.append("the images have different proportions: all are stretched to one square; crop them alike")
        for path, reason in self.broken[:_NAMED]:
            lines.append(f"left out {os.path.relpath(path, root)}: {reason}")
        if len(self.broken) > _NAMED:
            lines.append(f"left out {len(self.broken) - _NAMED} more that cannot be read")
        return lines


def has_colour(pixels: np.ndarray) -> bool:
    """Return True if an image ``(H, W, 3)`` has colour that can be seen.

    Examples
    --------
    >>> has_colour(np.full((8, 8, 3), 100, np.uint8)), has_colour(np.full((8, 8, 3), (90, 100, 130), np.uint8))
    (False, True)
    """
    values = pixels[::4, ::4].astype(np.int16)
    return bool((values.max(axis=2) - values.min(axis=2)).mean() >= _LEAST_COLOUR)
