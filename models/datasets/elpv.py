"""ELPV: 2,624 electroluminescence images of solar cells, with labels and one fixed split.

The images come from the ``elpv-dataset`` package (CC BY-NC-SA 4.0) and are read where pip put them.

Each image carries the probability, given by experts, that the cell is defective: 0, 1/3, 2/3 or 1. As in
the paper a cell counts as *defective* from 1/2 on. References: S. Deitsch et al., "Automatic
classification of defective photovoltaic module cells in electroluminescence images", Solar Energy 185
(2019); C. Buerhop-Lutz et al., "A benchmark for visual identification of defective solar cells in
electroluminescence imagery", EU PVSEC (2018).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "validation", "test"]

#: Shares of each stratum, in the order in which the hash of the image name fills them.
SPLIT_SHARES: tuple[tuple[Split, float], ...] = (("test", 0.25), ("validation", 0.08), ("train", 0.67))


class DatasetMissing(Exception):
    """Missing package of the data set."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Labelled image of a solar cell.

    Parameters
    ----------
    name
        File name, unique in the data set.
    path
        Path of the PNG (300 x 300 pixels, 8-bit grey).
    probability
        Probability in [0, 1] that the cell is defective, by the judgement of experts.
    cell_type
        ``mono`` or ``poly`` (crystalline).
    split
        ``train``, ``validation`` or ``test``.
    """

    name: str
    path: Path
    probability: float
    cell_type: str
    split: Split

    @property
    def defective(self) -> bool:
        """True from probability 1/2 on, as in the paper."""
        return self.probability >= 0.5


def assign_splits(strata: Iterable[tuple[str, str]]) -> dict[str, Split]:
    """Assign each name to a split, within its stratum, by the sha256 of the name.

    The result depends on the names alone, not on their order, a seed or the machine.

    Parameters
    ----------
    strata
        Pairs of (name, stratum); names are unique.

    Examples
    --------
    >>> splits = assign_splits((f"cell{i:04}.png", "mono") for i in range(100))
    >>> [list(splits.values()).count(s) for s in ("test", "validation", "train")]
    [25, 8, 67]
    """
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for name, stratum in strata:
        by_stratum[stratum].append(name)
    result: dict[str, Split] = {}
    for names in by_stratum.values():
        names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
        start, share_before = 0, 0.0
        for split, share in SPLIT_SHARES:
            share_before += share
            stop = round(share_before * len(names))
            result.update((name, split) for name in names[start:stop])
            start = stop
    return result


def load_cells(split: Split | None = None) -> list[Cell]:
    """Return the cells of one split, or all cells without a split, in the data set's order.

    Raises
    ------
    DatasetMissing
        If the package ``elpv-dataset`` is not installed.
    """
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise DatasetMissing("the solar-cell images are not installed: pip install elpv-dataset (CC BY-NC-SA 4.0)")
    root = Path(spec.origin).parent / "data"
    rows = [line.split() for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines() if line.strip()]
    splits = assign_splits((Path(path).name, f"{kind}/{float(p):.2f}") for path, p, kind in rows)
    cells = [Cell(Path(path).name, root / path, float(p), kind, splits[Path(path).name]) for path, p, kind in rows]
    return [cell for cell in cells if split is None or cell.split == split]
