"""Model with another threshold, as if its manifest had that threshold."""

from __future__ import annotations

import dataclasses
import json

from pydantic import ValidationError

from models.manifest import Manifest
from models.package import Model
from schemas.errors import SettingsError


def with_threshold(model: Model, threshold: float) -> Model:
    """Return the model with a rule that is NOT_OK from ``threshold`` on; both models share the session.

    All other settings stay, including the review band. The decisions are those of a package whose manifest has this
    threshold, and have the ``recipe_revision`` of that manifest.

    Raises
    ------
    SettingsError
        If a manifest could not have this threshold, for example because it is not in [0, 1].

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
        # By way of JSON, as for the manifest's own file: there a list is accepted as a tuple.
        manifest = Manifest.model_validate_json(json.dumps(values))
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"threshold {threshold:g} for {model.name}: {reason}") from error
    return dataclasses.replace(model, manifest=manifest, recipe_revision=manifest.recipe_revision)
