"""Finding of a frame, made of the findings of its tiles: the worst tile decides."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.regions import Region
from models.task_spec import EMBEDDING
from models.tasks.finding import MAX_DEFECTS, Finding
from models.tasks.label_thresholds import worst_label
from schemas.records import Defect

#: Most defects that are compared with each other, the best first. This bounds cost and memory.
_MAX_CANDIDATES = 300
#: Share of the smaller of two boxes from different tiles from which both are one defect.
_SAME = 0.5
#: Distance of boxes of a map, in pixels, up to which they touch.
_TOUCHING = 1.0


class TileFindings:
    """Findings of the tiles of a frame, added one by one.

    The score is that of the worst tile. A tile without a valid score makes the score of the frame invalid: the part is
    never accepted. Labels are those of the worst tile; of a detection model, the best of all tiles. Defects are merged:

    - ``detection``: of boxes of one label that lie mostly in each other, in different tiles, the best is kept; of any
      labels with ``suppression: all_labels``;
    - ``anomaly_map``, ``segmentation``: regions of one label that touch each other become one;
    - ``classification``, and a finished anomaly score without a map: each tile from the threshold on is a defect.

    Areas of defects add up; those in an overlap count in each tile.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._worst: Finding | None = None
        self._labels: dict[str, float] = {}
        self._found: list[tuple[int, Defect]] = []
        self._tiles = 0
        self._area: float | None = None
        has_places = bool(set(manifest.outputs.names) - {EMBEDDING, "score"})
        self._is_tile_defect = manifest.task == "classification" or not has_places
        self._is_any_label = manifest.detection is not None and manifest.detection.suppression == "all_labels"

    def add(self, tile: Region, finding: Finding) -> None:
        """Add the finding of a tile."""
        if self._worst is None or _rank(finding) > _rank(self._worst):
            self._worst = finding
        for label, score in finding.labels.items():
            self._labels[label] = max(score, self._labels.get(label, score))
        defects = finding.defects
        if finding.area is not None:
            self._area = finding.area + (self._area or 0.0)
        if self._is_tile_defect and finding.score >= self._manifest.decision.threshold:
            box = (float(tile.x), float(tile.y), float(tile.width), float(tile.height))
            defects = (Defect(_defect_label(finding, self._manifest), finding.score, box),)
        self._found += [(self._tiles, defect) for defect in defects]
        if len(self._found) > 4 * _MAX_CANDIDATES:
            self._found = _best(self._found)
        self._tiles += 1

    def merged(self) -> Finding:
        """Return the finding of the frame."""
        if self._worst is None:
            return Finding(math.nan)
        task, found = self._manifest.task, _best(self._found)
        merged = found
        if task == "detection":
            merged = _kept(found, self._is_any_label)
        elif task in ("anomaly_map", "segmentation") and not self._is_tile_defect:
            merged = _joined(found)
        labels = self._labels if task == "detection" else self._worst.labels
        defects = tuple(defect for _, defect in _best(merged)[:MAX_DEFECTS])
        return replace(self._worst, labels=labels, defects=defects, area=self._area)


def _rank(finding: Finding) -> float:
    """Return the score, or more than any score if it is not valid."""
    return finding.score if 0 <= finding.score <= 1 else math.inf


def _defect_label(finding: Finding, manifest: Manifest) -> str:
    if manifest.classification is not None:
        return worst_label(finding.labels, manifest)[0]
    bad = [label for label in manifest.labels if label != manifest.good_label] or list(manifest.labels)
    return max(bad, key=lambda label: finding.labels[label])


def _best(found: list[tuple[int, Defect]]) -> list[tuple[int, Defect]]:
    """Return the defects with the highest scores, in a stable order."""
    return sorted(found, key=lambda each: -each[1].score)[:_MAX_CANDIDATES]


def _corners(found: list[tuple[int, Defect]]) -> NDArray[np.float64]:
    boxes = np.array([defect.box_xywh for _, defect in found], np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _kept(found: list[tuple[int, Defect]], is_any_label: bool) -> list[tuple[int, Defect]]:
    """Leave out boxes that lie mostly in a better box of the same label from another tile, or contain most of it."""
    corners = _corners(found)
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    kept: list[int] = []
    for index, (tile, defect) in enumerate(found):
        others = [
            each for each in kept if found[each][0] != tile and (is_any_label or found[each][1].label == defect.label)
        ]
        sides = np.minimum(corners[index, 2:], corners[others, 2:]) - np.maximum(
            corners[index, :2], corners[others, :2]
        )
        shared = np.prod(np.clip(sides, 0, None), axis=1)
        if not (shared > _SAME * np.minimum(areas[index], areas[others])).any():
            kept.append(index)
    return [found[index] for index in kept]


def _joined(found: list[tuple[int, Defect]]) -> list[tuple[int, Defect]]:
    """Join boxes of one label, of different tiles, that touch each other."""
    corners = _corners(found)
    tiles = np.array([tile for tile, _ in found])
    labels = np.array([defect.label for _, defect in found])
    group = np.arange(len(found))
    for index in range(len(found)):
        gaps = np.maximum(corners[index, :2] - corners[:, 2:], corners[:, :2] - corners[index, 2:])
        touching = (gaps <= _TOUCHING).all(axis=1) & (tiles != tiles[index]) & (labels == labels[index])
        joined = np.unique([group[index], *group[touching]])
        group[np.isin(group, joined)] = joined[0]
    made = []
    for first in np.unique(group):
        mine = np.flatnonzero(group == first)
        left, top = (float(value) for value in corners[mine, :2].min(axis=0))
        right, bottom = (float(value) for value in corners[mine, 2:].max(axis=0))
        tile, best = found[int(mine[0])]
        box = best.box_xywh if len(mine) == 1 else (left, top, right - left, bottom - top)
        made.append((tile, replace(best, box_xywh=box)))
    return made
