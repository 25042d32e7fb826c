"""Blocks of images that belong together, and scores of images by models that have not seen their block.

Images of one lot look more alike than images of different lots. A model that is tested on the lots that it learned from
looks better than it is. So each block is scored by a model of all other blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BlockKind = Literal["folder", "order"]

#: Blocks that images without lots are cut into.
_BLOCKS = 5
#: Runs of neighbours that are dealt to folds.
_RUNS = 50
#: Fewest lots that make blocks of their own, and most blocks: each costs a fit. More lots share blocks.
_FEWEST_LOTS, _MOST_BLOCKS = 3, 10


def assign_blocks(paths: Sequence[PurePath]) -> tuple[NDArray[np.int64], BlockKind]:
    """Return the block of each path, and what blocks were made of.

    Sub-folders are lots, if there are three or more. Otherwise neighbours in the order of the names form five blocks:
    cameras number their files, and neighbours in time are alike.

    Parameters
    ----------
    paths
        Paths relative to the folder of the images, in the order of their names.

    Examples
    --------
    >>> assign_blocks([PurePath(f"{number}.png") for number in range(10)])[0].tolist()
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    >>> assign_blocks([PurePath(f"lot{number % 3}/{number}.png") for number in range(6)])[0].tolist()
    [0, 1, 2, 0, 1, 2]
    """
    folders = [path.parent for path in paths]
    lots = {folder: number for number, folder in enumerate(dict.fromkeys(folders))}
    if len(lots) >= _FEWEST_LOTS:
        blocks = min(len(lots), _MOST_BLOCKS)
        return np.array([lots[folder] * blocks // len(lots) for folder in folders]), "folder"
    return neighbour_blocks(len(paths)), "order"


def by_product(
    paths: Sequence[PurePath], products: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], BlockKind]:
    """Return the number of the product of each path, its block, and what blocks were made of.

    The images of each product are cut into blocks on their own, so that no block has all images of a product.

    Examples
    --------
    >>> names = [PurePath(f"{name}/{number}.png") for name in "ab" for number in range(5)]
    >>> [each.tolist() for each in by_product(names, [path.parts[0] for path in names])[:2]]
    [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]]
    """
    names, numbers = np.unique(np.array(products), return_inverse=True)
    blocks, kinds = np.empty(len(paths), np.int64), set[BlockKind]()
    for number in range(len(names)):
        mine = np.flatnonzero(numbers == number)
        blocks[mine], kind = assign_blocks([paths[row] for row in mine.tolist()])
        kinds.add(kind)
    return np.asarray(numbers, np.int64), blocks, "folder" if kinds == {"folder"} else "order"


def neighbour_blocks(count: int) -> NDArray[np.int64]:
    """Return blocks of neighbours in the order of the names."""
    return np.arange(count) * min(_BLOCKS, count) // max(1, count)


def random_blocks(count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return blocks without regard to order, for comparison with `assign_blocks`."""
    return np.random.default_rng(seed).permutation(neighbour_blocks(count))


def neighbour_folds(count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return folds that neighbours share, but that are spread over the whole order: short runs, dealt at random.

    Pictures of the same part are often neighbours, and must not be on both sides. Folds of one long run each would
    leave whole products or kinds of defects out.

    Examples
    --------
    >>> neighbour_folds(100)[:6].tolist(), np.bincount(neighbour_folds(100)).tolist()
    ([3, 3, 3, 3, 1, 1], [20, 20, 20, 20, 20])
    """
    runs = min(count, _RUNS)
    dealt = np.random.default_rng(seed).permutation(np.arange(runs) % _BLOCKS)
    return np.asarray(dealt[np.arange(count) * runs // max(1, count)])


def out_of_block(
    blocks: NDArray[np.int64], score: Callable[[NDArray[np.bool_]], NDArray[np.floating]]
) -> NDArray[np.float64]:
    """Return a score for each image, by a model of the other blocks.

    Parameters
    ----------
    score
        Receives the mask of the images of a block, and returns their scores by a model of the images outside of it.
    """
    scores = np.empty(len(blocks))
    for block in np.unique(blocks):
        mask = blocks == block
        scores[mask] = score(mask)
    return scores
