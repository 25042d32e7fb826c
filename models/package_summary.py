"""Facts about a model package from its manifest and its files, without loading the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ModelPackageError
from models.input_spec import InputSpec
from models.manifest import Manifest
from models.manifest_file import MANIFEST_NAME, ManifestFile

#: Most entries of a table of metrics that are shown.
_MOST = 12


@dataclass(frozen=True, slots=True)
class PackageSummary:
    """Package in a folder.

    Parameters
    ----------
    manifest
        Its manifest; None if it cannot be read.
    problem
        Reason why the manifest cannot be read.
    sizes
        Bytes of each file that the manifest names; None for a file that is not there.
    """

    path: Path
    manifest: Manifest | None
    problem: str
    sizes: dict[str, int | None]

    @classmethod
    def read(cls, path: Path) -> PackageSummary:
        """Read the manifest of a folder; never raises."""
        try:
            manifest = ManifestFile.read(path / MANIFEST_NAME).manifest
        except ModelPackageError as error:
            return cls(path, None, str(error), {})
        names = [manifest.file, *([] if manifest.reference is None else [manifest.reference.file])]
        names += [] if manifest.input.align is None else [manifest.input.align.file]
        return cls(path, manifest, "", {name: _size(path / name) for name in names})

    def to_json(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        if self.manifest is None:
            return {"path": str(self.path), "problem": self.problem}
        return {
            "path": str(self.path),
            **self.manifest.model_dump(mode="json"),
            "recipe_revision": self.manifest.recipe_revision,
            "sizes": self.sizes,
        }


def shipped_packages() -> Path:
    """Return the folder of the packages that ship."""
    return Path(__file__).parent / "zoo"


def find_packages(folder: Path) -> Iterator[Path]:
    """Yield the folders with a manifest: the folder itself, else those directly below it, sorted.

    Raises
    ------
    OSError
        If the folder cannot be listed.
    """
    if (folder / MANIFEST_NAME).exists():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / MANIFEST_NAME).exists():
            yield path


def summary_lines(found: PackageSummary) -> list[tuple[str, str]]:
    """Return the facts as pairs of name and text, on one page."""
    manifest = found.manifest
    if manifest is None:
        return [("path", str(found.path)), ("problem", found.problem)]
    spec, rule = manifest.input, manifest.decision
    scaling = "as they are" if spec.dtype == "uint8" else f"times {spec.scale:.6g}"
    if spec.mean or spec.std:
        scaling += f", mean {_listed(spec.mean) or '0'}, std {_listed(spec.std) or '1'}"
    band = f", review from {rule.review_band[0]:g} to {rule.review_band[1]:g}" if rule.review_band else ""
    lines = [
        ("path", str(found.path)),
        ("name", f"{manifest.name} {manifest.version}"),
        ("task", manifest.task),
        ("input", f"{spec.name}: {spec.width}x{spec.height} {spec.colour}, {spec.layout}, {spec.dtype}, {spec.resize}"),
        *_part(spec),
        ("pixels", scaling),
        ("outputs", ", ".join(f"{role}: {name}" for role, name in manifest.outputs.names.items())),
        ("activation", manifest.outputs.activation),
        ("labels", _some(manifest.labels) + (f"; good: {manifest.good_label}" if manifest.good_label else "")),
        ("threshold", f"{rule.threshold:g}{band}"),
        ("actions", ", ".join(f"{name}: {action}" for name, action in rule.actions.model_dump(mode="json").items())),
        ("recipe", f"{rule.recipe_id} {manifest.recipe_revision}"),
    ]
    lines += _task_lines(manifest)
    lines += [(name, text) for name, text in manifest.training.model_dump().items()]
    lines += _figures(manifest)
    for name, size in found.sizes.items():
        lines.append((name, "is not there" if size is None else f"{size / 1e6:.2f} MB"))
    lines.append(("sha256", manifest.sha256))
    if manifest.reference is None:
        lines.append(("reference", "none; `inspection model reference` measures one"))
    if manifest.overrule:
        lines.append(("overrule", ", ".join(manifest.overrule)))
    return lines


def _task_lines(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield the block of the manifest's task."""
    if manifest.classification is not None:
        own = ", ".join(f"{label} {value:g}" for label, value in manifest.classification.label_thresholds.items())
        yield "thresholds", f"of each label: {own}; they count as {manifest.decision.threshold:g}"
    if manifest.anomaly is not None:
        of = "finished score" if "score" in manifest.outputs.names else f"{manifest.anomaly.score_percentile:g} % of it"
        yield "map", f"{of}, {manifest.anomaly.low:g} to {manifest.anomaly.high:g}"
    if manifest.detection is not None:
        boxes = manifest.detection
        suppression = boxes.suppression or ("none" if "detections" in manifest.outputs.names else "each_label")
        text = f"{boxes.box}, {boxes.coordinates}, from score {boxes.score_threshold:g}, suppression {suppression}"
        text += "" if suppression == "none" else f", IoU {boxes.iou_threshold:g}"
        yield "boxes", text + (", class 0 is the background" if boxes.first_class else "")
    if manifest.segmentation is not None:
        regions = manifest.segmentation
        text = f"from {regions.min_area:g} pixels of the frame"
        text += f", from score {regions.score_threshold:g}" if "scores" in manifest.outputs.names else ""
        yield "regions", text + (", class 0 is the background" if regions.first_class else "")


def _part(spec: InputSpec) -> Iterator[tuple[str, str]]:
    """Yield the part of a frame that is inspected, if it is not all of it."""
    if spec.roi is not None:
        x, y, width, height = spec.roi.rectangle
        polygon = "" if spec.roi.polygon is None else f", a polygon of {len(spec.roi.polygon)} corners"
        yield "region", f"{width}x{height} pixels at {x},{y}{polygon}"
    if spec.samples.stated():
        yield "samples", ", ".join(f"{name} {value}" for name, value in spec.samples.stated().items())
    if spec.tiles is not None:
        grid, size = spec.tiles.grid, spec.tiles.size
        shape = "{}x{} tiles".format(*grid) if grid else "tiles of {}x{} pixels".format(*size or ())
        yield "tiles", f"{shape}, overlap {spec.tiles.overlap:g}; the worst one decides"


def _figures(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield the metrics, without lists and tables inside tables; parity, if it was measured, among them."""
    for name, table in (("metrics", manifest.metrics), *list(manifest.metrics.items())[:_MOST]):
        if isinstance(table, dict):
            if text := _plain(table):
                yield name, text
            for inner, values in list(table.items())[:_MOST] if table is not manifest.metrics else ():
                if isinstance(values, dict) and (text := _plain(values)):
                    yield f"{name}, {inner}", text
    if "parity" not in manifest.metrics:
        yield "parity", "not measured"


def _plain(table: dict[str, Any]) -> str:
    plain = [(key, value) for key, value in table.items() if isinstance(value, int | float | str)]
    return ", ".join(f"{key} {_value(value)}" for key, value in plain[:_MOST])


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:200]


def _listed(values: Sequence[float]) -> str:
    return "/".join(f"{value:g}" for value in values)


def _some(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
