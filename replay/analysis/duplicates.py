"""Duplicates: parts or images that occur more than once, and those that were judged differently."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from replay.analysis.arrays import Integers
from replay.analysis.results import Duplicates, Group
from replay.analysis.view import NOT_OK, OK, View, codes

#: Maximum number of listed groups of each kind.
MAX_LISTED = 100


def duplicates_of(view: View) -> Duplicates:
    """Find parts (by camera and part id) and images (by sha256) that occur more than once in a stretch."""
    table = view.table
    verdicts = np.full(len(table), -1, np.int8)
    verdicts[view.rows] = view.verdict
    camera, _ = codes(table["camera"])
    part, parts = codes(table["part_id"])
    image, images = codes(table["image_sha256"])
    key = camera * max(1, len(parts)) + part
    if None in parts:
        key = np.where(part == parts.index(None), -1, key)
    part_key, part_names = _dense(key)
    image = np.where(image == images.index(""), -1, image) if "" in images else image
    by_part, contradictory = _repeated(part_key, verdicts)
    by_image, unlike = _repeated(image, verdicts)
    # Contradictory groups come first: a person should look at them first.
    listed = [int(number) for number in contradictory[:MAX_LISTED]]
    of_images = [int(number) for number in [*unlike, *np.setdiff1d(by_image, unlike)][:MAX_LISTED]]
    names = [str(parts[number % max(1, len(parts))]) for number in part_names]
    return Duplicates(
        parts_seen_again=len(by_part),
        contradictory_parts=len(contradictory),
        images_seen_again=len(by_image),
        contradictory_images=len(unlike),
        frames_published_again=int((table["copies"] > 1).sum()),
        contradictions=tuple(_groups(view, part_key, listed, names)),
        images=tuple(_groups(view, image, of_images, [name or "" for name in images])),
    )


def _dense(key: Integers) -> tuple[Integers, list[int]]:
    """Renumber the keys from 0 on, with -1 unchanged; return the numbers and the key of each number."""
    values, numbers = np.unique(key, return_inverse=True)
    offset = int(len(values) > 0 and values[0] == -1)
    return numbers.reshape(-1) - offset, [int(value) for value in values[offset:]]


def _repeated(group: Integers, verdicts: np.ndarray[tuple[int], np.dtype[np.int8]]) -> tuple[Integers, Integers]:
    """Return the groups with several rows, and those of them with both verdicts."""
    there = group >= 0
    count = int(group.max(initial=-1)) + 1
    sizes = np.bincount(group[there], minlength=count)
    has_ok, has_not = (np.bincount(group[there & (verdicts == one)], minlength=count) > 0 for one in (OK, NOT_OK))
    return np.flatnonzero(sizes > 1), np.flatnonzero((sizes > 1) & has_ok & has_not)


def _groups(view: View, group: Integers, listed: list[int], names: list[str]) -> Iterator[Group]:
    wanted = {number: at for at, number in enumerate(listed)}
    rows: list[list[int]] = [[] for _ in listed]
    for row in np.flatnonzero(np.isin(group, listed)):
        rows[wanted[int(group[row])]].append(int(row))
    verdicts = view.table[f"{view.decider}.verdict"]
    for number, of in zip(listed, rows, strict=True):
        shown = tuple(of[:20])
        yield Group(
            name=names[number],
            camera=str(view.table["camera"][of[0]]),
            rows=shown,
            verdicts=tuple(str(verdicts[row] or "") for row in shown),
        )
