"""Camera of a labelled line: solar cells of the ELPV data set pass, in an order drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import cast, get_args

from models.datasets.elpv import Cell, DatasetMissing, Split, load_cells
from producers.camera import Capture
from schemas.errors import PluginError


class ElpvCamera:
    """Camera that returns electroluminescence images of one split, with their labels as attributes.

    Attributes: ``label`` (``defective`` or ``functional``), ``label_probability``, ``cell_type`` and ``name``.

    Parameters
    ----------
    split
        ``test``, ``validation`` or ``train``.
    seed
        Seed of the order.
    camera, cameras
        Share number ``camera`` (from 0) of ``cameras``: together they show each cell once.
    loop
        Begin again at the end, in the same order.
    cell_type
        Only ``mono`` or ``poly`` cells; None: both.

    Raises
    ------
    PluginError
        If the data set is not installed, or the split or the share does not exist.
    """

    def __init__(
        self,
        split: str = "test",
        seed: int = 0,
        camera: int = 0,
        cameras: int = 1,
        loop: bool = False,
        cell_type: str | None = None,
    ) -> None:
        if split not in get_args(Split):
            raise PluginError(f"split {split!r}: one of {', '.join(get_args(Split))}")
        if not 0 <= camera < cameras:
            raise PluginError(f"camera {camera} of {cameras}: they count from 0")
        try:
            cells = load_cells(cast(Split, split))
        except DatasetMissing as error:
            raise PluginError(str(error)) from error
        if cell_type not in (None, "mono", "poly"):
            raise PluginError(f"cell_type {cell_type!r}: mono or poly")
        cells = [cell for cell in cells if cell_type in (None, cell.cell_type)]
        random.Random(seed).shuffle(cells)
        self._cells = cells[camera::cameras]
        self._loop = loop

    def __iter__(self) -> Iterator[Capture]:
        while self._cells:
            yield from map(_capture, self._cells)
            if not self._loop:
                return


def _capture(cell: Cell) -> Capture:
    return Capture(
        encoded=cell.path.read_bytes(),
        attributes={
            "label": "defective" if cell.defective else "functional",
            "label_probability": f"{cell.probability:.4f}",
            "cell_type": cell.cell_type,
            "name": cell.name,
        },
    )
