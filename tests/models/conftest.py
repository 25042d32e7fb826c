"""Packages made of tiny real ONNX models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from .tiny import MakePackage, manifest_of, mean_classifier


@pytest.fixture
def make_package(tmp_path: Path) -> MakePackage:
    """Write a package; returns its folder."""

    def make(model: bytes | None = None, **changes: Any) -> Path:
        data = mean_classifier() if model is None else model
        folder = tmp_path / f"package{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(data)
        text = yaml.safe_dump(manifest_of(data, **changes), sort_keys=False)
        (folder / "manifest.yaml").write_text(text, encoding="utf-8")
        return folder

    return make
