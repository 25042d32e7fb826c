"""Command ``python -m models.training.elpv.folders OUT``: solar cells as folders for `inspection train`.

``OUT/good/mono`` and ``OUT/good/poly`` have links to the cells of defect probability 0, ``OUT/defective`` to those of 1
on request. Nothing is copied. Cells of the test split are not offered: they are for figures alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from models.datasets.elpv import load_cells


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--every", type=int, default=1, help="take every n-th cell only")
    parser.add_argument("--defective", action="store_true", help="defective cells too")
    args = parser.parse_args()
    cells = load_cells(args.split)
    good = [(Path("good", cell.cell_type), cell) for cell in cells if cell.probability == 0.0]
    bad = [(Path("defective"), cell) for cell in cells if cell.probability == 1.0 and args.defective]
    for folder, cell in (*good[:: args.every], *bad[:: args.every]):
        link = args.out / folder / cell.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(cell.path)
    print(f"{args.out}: {len(good[:: args.every])} good cells, {len(bad[:: args.every])} defective ones")  # noqa: T201


if __name__ == "__main__":
    main()
