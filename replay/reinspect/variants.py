"""Variants of a run: models, and models with another threshold, each under a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import Model, default_model_path, load_model
from models.thresholds import with_threshold
from replay.past.replayed_frame import RECORDED
from schemas.errors import SettingsError
from schemas.plain_files import real_path

#: Name of the model that the line runs.
CHAMPION = "champion"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_@.+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Variant:
    """Model with an optional threshold, under a name.

    Parameters
    ----------
    name
        Short name, unique in the run: the columns of the analysis are named after it.
    path
        Path of the model package; None for the packaged default model.
    threshold
        Threshold to use; None for the manifest's threshold.

    Examples
    --------
    >>> Variant("recorded")
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: variant 'recorded': this is what the line itself decided; choose another name
    """

    name: str
    path: Path | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.name == RECORDED:
            raise SettingsError(f"variant {self.name!r}: this is what the line itself decided; choose another name")
        if not _NAME.fullmatch(self.name):
            raise SettingsError(f"variant {self.name!r}: up to 64 letters, digits and _ @ . + -")


@dataclass(frozen=True, slots=True)
class LoadedVariant:
    """Variant with its model."""

    variant: Variant
    model: Model

    def described(self) -> dict[str, Any]:
        """Return the record of the variant that a run writes down, for JSON."""
        return {
            "name": self.variant.name,
            "path": str(self.model.path),
            "threshold": self.variant.threshold,
            "model_name": self.model.name,
            "model_version": self.model.version,
            "model_sha256": self.model.sha256,
            "recipe_id": self.model.recipe_id,
            "recipe_revision": self.model.recipe_revision,
        }


def load(variants: Sequence[Variant]) -> tuple[LoadedVariant, ...]:
    """Load the models, each package once.

    Raises
    ------
    ModelPackageError, SettingsError
        If a package must not be used, a threshold is not valid, or two variants have the same name.
    """
    names = [variant.name for variant in variants]
    if not names:
        raise SettingsError("a run needs at least one variant")
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"variant {name!r} is there twice; name them, as in NAME=DIR")
    packages: dict[Path, Model] = {}
    loaded = []
    for variant in variants:
        path = real_path(variant.path or default_model_path())
        if path not in packages:
            packages[path] = load_model(path)
        model = packages[path]
        loaded.append(
            LoadedVariant(variant, model if variant.threshold is None else with_threshold(model, variant.threshold))
        )
    return tuple(loaded)


def from_described(described: Sequence[dict[str, Any]]) -> tuple[Variant, ...]:
    """Return the variants that a run has written down.

    Raises
    ------
    SettingsError
        If the values are not valid variants.
    """
    try:
        return tuple(Variant(str(row["name"]), Path(row["path"]), row["threshold"]) for row in described)
    except (KeyError, TypeError) as error:
        raise SettingsError(f"no variants: {error}") from error


def groups(loaded: Sequence[LoadedVariant]) -> tuple[tuple[int, ...], ...]:
    """Return the indices of the variants that share a network, which then runs once for all of them."""
    by_network: dict[tuple[str, str, str], list[int]] = {}
    for index, each in enumerate(loaded):
        by_network.setdefault(each.model.network, []).append(index)
    return tuple(tuple(indices) for indices in by_network.values())


__all__ = ["CHAMPION", "LoadedVariant", "Variant", "from_described", "groups", "load"]
