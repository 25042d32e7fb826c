"""Result of a training: the recipes that were tried, what was found in the images, and warnings."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.preprocess import content_wh
from models.regions import region_of, tiles_of
from models.remarks import Remark, shrinking
from models.tile_spec import MAX_TILES
from models.training.blocks import BlockKind
from models.training.defects import DefectTest
from models.training.labelled import HeadFit
from models.training.survey import Survey
from models.training.tried_recipe import TriedRecipe
from schemas.text import shown

#: Mean AUROC on synthetic defects, below which a model is no good; chance has 0.5.
_LEAST_QUALITY = 0.6
#: Share of synthetic defects of a size that a useful model finds.
_LEAST_FOUND = 0.6
#: Side of the smallest tile that is recommended, as a share of the input of the network: enlarged tiles help too.
_LEAST_TILE = 0.25
#: Share of the images of defective parts that a useful model may accept.
_MOST_ESCAPES = 0.2
#: The same for one of several kinds of defects, of which there are as many images as this.
_MOST_ESCAPES_OF_KIND, _FEWEST_OF_KIND = 0.5, 3


@dataclass(slots=True)
class TrainingResult:
    """Result of a training.

    Parameters
    ----------
    best
        Chosen recipe.
    tried
        All recipes that were tried.
    left_out
        Recipes that were not tried, and why.
    survey
        Findings about the images.
    root
        Folder of the images.
    paths, blocks
        Images that the chosen recipe learned from, and the block of each.
    block_kind
        What blocks were made of.
    unmatched
        Images of good parts that the chosen recipe cannot align: the line rejects such parts.
    defects
        Result of the images of defective parts; None without such images.
    products
        Number of good images of each product; empty if products are not told apart.
    reason
        Sentence that says why the images of defective parts made another recipe the chosen one; empty if they did not.
    max_ms
        Longest time of an inspection that was allowed.
    time_budget_s, took_s
        Time for the training that was allowed, and that it took, in seconds.
    """

    best: TriedRecipe
    tried: list[TriedRecipe]
    left_out: list[tuple[str, str]]
    survey: Survey
    root: Path
    paths: list[Path]
    blocks: NDArray[np.int64]
    block_kind: BlockKind
    unmatched: list[Path] = field(default_factory=list)
    defects: DefectTest | None = None
    products: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    max_ms: float = math.inf
    time_budget_s: float = math.inf
    took_s: float = 0.0

    @property
    def learned(self) -> HeadFit | None:
        """Head that the package has; None if it knows good parts only."""
        return None if self.defects is None else self.defects.learned

    @property
    def overkill(self) -> tuple[int, int]:
        """Number of good parts that the model of good parts rejects, and of all that it has judged."""
        fit, unmatched = self.best.fit, len(self.unmatched)
        return int(fit.rejected.sum()) + unmatched, len(fit.scores) + unmatched

    @property
    def calibration(self) -> str:
        """Line that says on which images the limit rests. Images of one lot cannot be told from independent ones."""
        blocks = len(np.unique(self.blocks))
        if self.block_kind == "folder":
            return f"the limit rests on {blocks} lots or groups of lots, each scored without itself"
        return (
            f"the limit rests on one folder in file order, in {blocks} blocks: images of other lots may give more "
            "overkill; with a folder for each lot, three or more, the limit covers the difference between lots"
        )

    @property
    def _shrinking(self) -> tuple[Remark, ...]:
        """Remark on images, or tiles, that become much smaller for the chosen recipe."""
        spec, [(size_wh, _)] = self.best.extractor.spec, self.survey.sizes.most_common(1)
        tile_wh = tiles_of(region_of(size_wh, spec), spec)[0].wh
        return shrinking(tile_wh, content_wh(tile_wh, spec))

    @property
    def _remedy(self) -> str:
        """Remedy for defects that are too small: tiles, unless they would be too small or too many."""
        spec, [(size_wh, _)] = self.best.extractor.spec, self.survey.sizes.most_common(1)
        width, height = region_of(size_wh, spec).wh
        columns, rows = (1, 1) if spec.tiles is None else map(len, spec.tiles.spans((width, height)))
        more_columns = columns * (2 if width // (2 * columns) >= _LEAST_TILE * spec.width else 1)
        more_rows = rows * (2 if height // (2 * rows) >= _LEAST_TILE * spec.height else 1)
        factor = more_columns * more_rows / (columns * rows)
        if self.best.fit.recipe.is_of_pixels or factor == 1 or more_columns * more_rows > MAX_TILES:
            return "bring the camera closer, or inspect a part of the image with --roi x,y,width,height"
        image_ms = factor * self.best.image_ms
        longer = f" (about {image_ms:.0f} ms an image, more than --max-ms)" if image_ms > self.max_ms else ""
        return f"train with --tiles {more_columns}x{more_rows}{longer}, or bring the camera closer"

    @property
    def _quicker(self) -> str:
        """Remedy for a model that is too slow: a recipe that was tried and is quick enough, or fewer tiles."""
        first = min(self.tried, key=lambda candidate: candidate.image_ms, default=self.best)
        if first.image_ms <= self.max_ms:
            name = first.fit.recipe.name
            return f"train with --recipe {shlex.quote(name)}, which takes {first.image_ms:.0f} ms, or allow more"
        if self.best.extractor.spec.tiles is not None:
            return "train with fewer --tiles, or without them, or allow more"
        return "train with another --recipe, or use a quicker machine, or allow more"

    @property
    def warnings(self) -> list[str]:
        """Lines that say why the model may be no good, and what would help."""
        lines = []
        if self.best.quality < _LEAST_QUALITY:
            lines.append(
                f"does hardly better than chance (AUROC {self.best.quality:.2f} on synthetic defects): do not use this "
                f"model; {self._remedy}"
            )
        lines += [
            f"{count} image{'' if count == 1 else 's'}, {kind}: {text}"
            for kind, (count, text) in sorted(self.survey.remarks.items())
        ]
        lines += [f"{remark.text}; {self._remedy}" for remark in self._shrinking]
        lines += filter(None, [self.survey.unlike])
        for size in sorted({result.size for result in self.best.synthetic}, reverse=True):
            found = float(np.mean([result.found for result in self.best.synthetic if result.size == size]))
            if found < _LEAST_FOUND:
                lines.append(
                    f"finds {found:.0%} of synthetic defects of {size:.0%} of the image's side: for such small defects "
                    f"{self._remedy}"
                )
                break
        if self.defects is not None:
            missed, count = self.defects.packaged_figures.escapes
            if missed > _MOST_ESCAPES * count:
                lines.append(
                    f"accepts {missed} of the {count} images of defective parts: {self._remedy}; a larger --overkill "
                    "finds more of them and rejects more good parts"
                )
            lines += [
                f"accepts {missed} of the {count} images of {shown(kind)}: this model hardly sees this kind of defect"
                for kind, (_, missed, count) in self.defects.packaged_figures.kinds.items()
                if len(self.defects.packaged_figures.kinds) > 1
                and count >= _FEWEST_OF_KIND
                and missed > _MOST_ESCAPES_OF_KIND * count
            ]
        if self.best.image_ms > self.max_ms:
            head = "" if self.learned is None else " with the head for defective parts"
            lines.append(
                f"an image takes {self.best.image_ms:.0f} ms{head}, more than the {self.max_ms:.0f} of --max-ms: "
                f"{self._quicker}"
            )
        if self.took_s > self.time_budget_s:
            lines.append(
                f"the training took {self.took_s:.0f} s, more than the {self.time_budget_s:g} of --time-budget: one "
                "recipe is always tried, and the time to read images does not count; take fewer or smaller images, or "
                "allow more"
            )
        if self.survey.usable < 50:
            lines.append(f"{self.survey.usable} good images are few: 100 or more make a better model")
        return lines
