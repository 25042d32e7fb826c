"""Base of the blocks of a manifest."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ManifestBlock(BaseModel):
    """Base of all blocks of a manifest: frozen, strict, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
