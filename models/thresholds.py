"""A model with another threshold, as if its manifest said so."""

from __future__ import annotations

import dataclasses
import json

from pydantic import ValidationError

from models.manifest import Manifest
from models.package import Model
from schemas.errors import SettingsError


def with_threshold(model: Model, threshold: float) -> Model:
    """The model, whose rule says NOT_OK from ``threshold`` on; the session is shared.

    All else stays, the review band too. Its decisions are those of a package whose manifest has that threshold, with
    that manifest's ``recipe_revision``.

    Raises
    ------
    SettingsError
        If a manifest could not say so, such as a threshold that is not in [0, 1].

    Examples
    --------
    >>> from models.package import default_model_path, load_model
    >>> model = load_model(default_model_path())
    >>> other = with_threshold(model, 0.3)
    >>> other.manifest.decision.threshold, other.recipe_revision == model.recipe_revision
    (0.3, False)
    """
    values = model.manifest.model_dump(mode="json")
    values["decision"]["threshold"] = float(threshold)
    try:
        # By way of JSON, as the manifest's own file: a list is a tuple there.
        manifest = Manifest.model_validate_json(json.dumps(values))
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"threshold {threshold:g} for {model.name}: {reason}") from error
    return dataclasses.replace(model, manifest=manifest, recipe_revision=manifest.recipe_revision)
