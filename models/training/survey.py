"""Survey of a folder of images before a training: what is there, what is broken, and what is there twice."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from models.image_folder import list_images
from models.remarks import NOT_ALIGNED, Remark, RemarkKind
from models.training.masks import without_masks
from models.training.recipe import Colour
from schemas.errors import SettingsError
from schemas.plain_files import real_path
from schemas.records import Encoding
from schemas.text import file_text

T = TypeVar("T")

#: Names of folders that hold good parts, in lower case.
GOOD_FOLDERS = frozenset(
    {"good", "ok", "io", "normal", "nominal", "functional", "pass", "passed", "accept", "no_defect", "good_parts"}
)
_FIRST_WORD = re.compile(r"[^\W\d_]+")
#: Most images that are learned from; more are sampled evenly.
MOST_IMAGES = 2_000
#: Folder names that an error lists.
_LISTED = 5
#: Cure for folders, as of days, that hold good and defective parts each.
_SORT = (
    "put all good parts into one folder, and those of each kind of defect into one beside it, or state with --good . "
    "that all parts are good"
)
#: Files that cannot be read and are named one by one.
_NAMED = 5
#: Most sizes of good images to which those of defective ones are compared, and share that may differ.
_MOST_SIZES, _LEAST_UNLIKE = 3, 0.1


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
    loose
        Number of images beside the folders, which are not used.
    products
        Product of each good part, if there are several.
    notes
        Lines about files and folders that are left out, see `models.image_folder.ImageFolder`.
    """

    root: Path
    good: tuple[Path, ...]
    defects: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    loose: int = 0
    products: dict[Path, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @classmethod
    def read(cls, root: Path, good: Sequence[str] = (), *, by_product: bool = False) -> TrainingFolder:
        """List a folder.

        If all images are in one folder, they are good parts, unless some names begin as those of good parts and others
        do not. Of several sub-folders those named as good parts are
        (``good``, ``ok``, ``normal`` ...) hold good parts, and every other one is a kind of defect. If the folder
        itself has such a name, all parts in it are good, and its sub-folders are lots. Folders further down are not
        told apart: a folder of good parts beside others there, or within a kind of defect, is refused, and so are
        several folders without such a name that lie in the only sub-folder. Masks are left out on every level, see
        `models.training.masks`.

        Parameters
        ----------
        good
            Names of the sub-folders of good parts, instead of the usual ones; ``.`` if all parts are good.
        by_product
            The folders within a folder of good parts are products.

        Raises
        ------
        OSError
            If the folder cannot be listed.
        SettingsError
            If nothing says which parts are good, or if a folder of good parts is on another level.
        """
        found = list_images(root)
        images, mask_notes = without_masks(root, found.images, good)
        notes = (*found.notes, *mask_notes)
        top = {path: path.relative_to(root).parts[0] if path.parent != root else "" for path in images}
        folders = sorted(set(top.values()) - {""})
        for name in good:
            if name not in folders and name != ".":
                raise SettingsError(
                    f"--good {name}: no such folder in {root}; it has {_listed(folders) or 'no folder of images'}"
                )
        chosen = set(good) or {name for name in folders if name.lower() in GOOD_FOLDERS}
        if not chosen:
            for path in sorted(root.iterdir()):
                if path.name.lower() in GOOD_FOLDERS and path.is_dir():
                    if path.is_symlink():
                        raise SettingsError(
                            f"{path} is a link to a folder, which is not followed: put the folder there"
                        )
                    raise SettingsError(f"{path} has no images; the other folders are not taken for good parts")
            _check_names(root, images)
        if "." not in chosen:
            _check_levels(root, images, chosen)
        if "." in chosen or (not chosen and _is_one_kind(root, images)):
            return cls(root, images, products=_products(root, images, 0) if by_product else {}, notes=notes)
        if not chosen:
            raise SettingsError(_question(root, images))
        defects: dict[str, list[Path]] = {}
        for path, name in top.items():
            if name and name not in chosen:
                defects.setdefault(file_text(name), []).append(path)
        kept = tuple(path for path in images if top[path] in chosen)
        return cls(
            root,
            kept,
            {name: tuple(paths) for name, paths in sorted(defects.items())},
            loose=list(top.values()).count(""),
            products=_products(root, kept, 1) if by_product else {},
            notes=notes,
        )


def _is_one_kind(root: Path, images: Sequence[Path]) -> bool:
    """Return True if all images are in one folder, or each below a folder that is named as good parts are."""
    below_good = real_path(root).name.lower() in GOOD_FOLDERS or all(
        any(name.lower() in GOOD_FOLDERS for name in path.relative_to(root).parts[:-1]) for path in images
    )
    return below_good or len({path.parent for path in images}) < 2


def _check_names(root: Path, images: Sequence[Path]) -> None:
    """Refuse images of one folder if the names of some of them begin with a word for good parts, and others do not."""
    if real_path(root).name.lower() in GOOD_FOLDERS or len({path.parent for path in images}) != 1:
        return
    words = sorted({found[0] for path in images if (found := _FIRST_WORD.match(path.name))})
    good = [word for word in words if word.lower() in GOOD_FOLDERS]
    if good and len(good) < len(words):
        raise SettingsError(
            f"{file_text(images[0].parent)} has files whose names begin with {_listed(words)}: put those of good parts "
            f"into a folder {good[0].lower()} and the others beside it, or state with --good . that all parts are good"
        )


def _question(root: Path, images: Sequence[Path]) -> str:
    """Return the line that asks which folders hold good parts: those of the deepest folder that has all images."""
    asked = Path(os.path.commonpath([path.parent for path in images]))
    below = [path.relative_to(asked).parts[:-1] for path in images]
    loose = " and images beside them" if () in below else ""
    within: dict[str, set[str]] = {}
    for first, second in {parts[:2] for parts in below if len(parts) > 1}:
        within.setdefault(second, set()).add(first)
    repeated = sorted(name for name, firsts in within.items() if len(firsts) > 1)
    if len(repeated) > 1:
        # Each of the folders, as of a day, may hold good and defective parts: none is to be named as that of good ones.
        return (
            f"{file_text(asked)} has the folders {_listed(sorted({parts[0] for parts in below if parts}))}{loose}, and "
            f"several of them have {_listed(repeated)}: {_SORT}"
        )
    there = "" if asked == root else f"state --images {shlex.quote(file_text(asked))} and "
    return (
        f"{file_text(asked)} has the folders {_listed(sorted({parts[0] for parts in below if parts}))}{loose}: {there}"
        "name those of good parts with --good NAME, or state with --good . that all parts are good"
    )


def _listed(folders: Sequence[str]) -> str:
    return ", ".join(map(file_text, folders[:_LISTED])) + (" ..." if len(folders) > _LISTED else "")


def _check_levels(root: Path, images: Sequence[Path], chosen: set[str]) -> None:
    """Refuse a folder of good parts that is not directly in the root, if other parts would be mixed with its own."""
    folders = {path.relative_to(root).parts[:-1] for path in images}
    deep: set[tuple[str, ...]] = set()
    for parts in folders:
        first = next((level for level, name in enumerate(parts) if name.lower() in GOOD_FOLDERS), 0)
        if first:
            deep.add(parts[: first + 1])

    def beside(found: tuple[str, ...]) -> set[str]:
        above = found[:-1]
        names = (parts[len(above)] for parts in folders if len(parts) > len(above) and parts[: len(above)] == above)
        return {name for name in names if name.lower() not in GOOD_FOLDERS}

    mixed = sorted({found[:-1] for found in deep if beside(found)})
    if len(mixed) > 1:
        names = _listed([os.path.join(*above) for above in mixed])
        raise SettingsError(
            f"{file_text(root)} has good and defective parts in each of {names}: if they are several products, state "
            f"one, as --images {shlex.quote(file_text(root.joinpath(*mixed[0])))}; if they are one product, {_SORT}"
        )
    for found in sorted(deep):
        if beside(found) or (chosen and found[0] not in chosen):
            aboves = sorted({shlex.quote(file_text(root.joinpath(*each[:-1]))) for each in deep})[:_LISTED]
            raise SettingsError(
                f"{file_text(root.joinpath(*found))} has the name of good parts, but is not directly in {root}: state "
                f"the folder above it, {' or '.join(f'--images {each}' for each in aboves)}, or rename it, or "
                "state with --good . that all parts are good"
            )


def _products(root: Path, good: Sequence[Path], level: int) -> dict[Path, str]:
    """Return the product of each image: the name of its folder on a level below the root."""
    found = {}
    for path in good:
        folders = path.relative_to(root).parts[:-1]
        if len(folders) <= level:
            raise SettingsError(f"--products: {path} is in no folder of a product")
        found[path] = file_text(folders[level])
    if len(set(found.values())) < 2:
        raise SettingsError(f"--products: {root} has good parts of one product; leave --products out")
    return found


def sampled(items: Sequence[T], most: int = MOST_IMAGES) -> list[T]:
    """Return at most this many items, evenly spread over the sequence.

    Examples
    --------
    >>> sampled(range(10), 4)
    [0, 2, 5, 7]
    """
    step = max(1.0, len(items) / most)
    return [items[int(number * step)] for number in range(min(most, len(items)))]


class ImageForm(NamedTuple):
    """File format, width and height of an image, and if a model that sees colour sees any in it."""

    encoding: Encoding
    size_wh: tuple[int, int]
    is_colour: bool = False

    def __str__(self) -> str:
        return "{}x{} {}".format(*self.size_wh, self.encoding) + (" in colour" if self.is_colour else "")


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
    in_both
        Number of images of defective parts that are also among the good ones.
    loose
        Number of images beside the folders, which are not used.
    notes
        Lines about files and folders that are left out.
    forms
        Number of images of each file format, width and height, with or without colour.
    of_defects
        Findings about the images of defective parts, once they are read.
    remarks
        Number of images with a remark of each kind, and its first text. How much an image shrinks depends on the
        recipe, and is no part of it.
    """

    found: int
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    repeated: int = 0
    alike: int = 0
    in_both: int = 0
    loose: int = 0
    notes: Sequence[str] = ()
    forms: Counter[ImageForm] = field(default_factory=Counter)
    of_defects: Survey | None = None
    colour: Colour = "grey"
    remarks: dict[RemarkKind, tuple[int, str]] = field(default_factory=dict)

    @property
    def usable(self) -> int:
        """Number of images that are learned from."""
        return self.sizes.total()

    def remark(self, remarks: Sequence[Remark]) -> None:
        """Count the remarks on an image."""
        for each in remarks:
            if each.kind not in ("shrunk", NOT_ALIGNED):
                count, text = self.remarks.get(each.kind, (0, each.text))
                self.remarks[each.kind] = count + 1, text

    @property
    def unlike(self) -> str:
        """Line about images of defective parts whose form no good part has; empty if they are few.

        A model learns whatever tells them apart: blocks of JPEG, colour, another scale, not the defects. Sizes
        are compared if all good parts have one of few.
        """
        forms = Counter[ImageForm]() if self.of_defects is None else self.of_defects.forms
        formats, sizes = {form.encoding is Encoding.JPEG for form in self.forms}, {form.size_wh for form in self.forms}
        colours = {form.is_colour for form in self.forms}
        unlike = Counter(
            {
                form: count for form, count in forms.items()
                if (form.encoding is Encoding.JPEG) not in formats
                or form.is_colour not in colours
                or (len(sizes) <= _MOST_SIZES and form.size_wh not in sizes)
            }
        )  # fmt: skip
        if unlike.total() <= _LEAST_UNLIKE * forms.total():
            return ""
        them, usual = (
            ", ".join(f"{form} ({count})" for form, count in each.most_common(3)) for each in (unlike, self.forms)
        )
        return (
            f"{unlike.total()} of {forms.total()} images of defective parts are unlike all good ones, {them} instead "
            f"of {usual}: the model may learn this difference and miss such defects on the line, and the figures of "
            "defective parts are then too good; take and save all images in the same way"
        )

    def add(self, of_defects: Survey) -> None:
        """Add the findings about images of defective parts."""
        self.of_defects = of_defects
        self.broken += of_defects.broken
        self.repeated += of_defects.repeated
        self.in_both += of_defects.in_both

    def lines(self, root: Path) -> list[str]:
        """Return the findings as lines for a person."""
        sizes = ", ".join(f"{width}x{height} ({count})" for (width, height), count in self.sizes.most_common(3))
        more = f" and {len(self.sizes) - 3} more sizes" if len(self.sizes) > 3 else ""
        lines = [f"{self.usable} of {self.found} images of good parts, {self.colour}: {sizes}{more}"]
        if self.found > MOST_IMAGES:
            lines.append(f"{MOST_IMAGES:,} of them were taken, evenly spread: more do not make a better model")
        for count, one, several in (
            (self.repeated, "file is an exact copy of another and was", "files are exact copies of others and were"),
            (self.in_both, "defective image is also good and was", "defective images are also good and were"),
            (self.loose, "image beside the folders was", "images beside the folders were"),
        ):
            if count:
                lines.append(f"{count} {one if count == 1 else several} left out")
        lines += self.notes
        if self.alike:
            verb = "image is" if self.alike == 1 else "images are"
            lines.append(f"{self.alike} {verb} nearly the same as the one before: few different parts, or a still line")
        if len({round(width / height, 1) for width, height in self.sizes}) > 1:
            lines.append("the images have different proportions: all are stretched to one square; crop them alike")
        for path, reason in self.broken[:_NAMED]:
            lines.append(f"left out {os.path.relpath(path, root)}: {reason}")
        if len(self.broken) > _NAMED:
            lines.append(f"left out {len(self.broken) - _NAMED} more that cannot be used")
        return lines


def has_colour(pixels: np.ndarray) -> bool:
    """Return True if the channels of an image ``(H, W, 3)`` differ anywhere: those of a grey camera never do.

    An image that was read in grey, ``(H, W)``, has no colour.

    Examples
    --------
    >>> grey, neutral = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), (100, 100, 101), np.uint8)
    >>> has_colour(grey), has_colour(neutral)
    (False, True)
    """
    # By rows: of a large image the comparison of all pixels at once would take as much memory again.
    return pixels.ndim == 3 and any(bool((row != row[:, :1]).any()) for row in pixels)
