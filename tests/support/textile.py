"""Textile images of the package ``conformal-clip-data`` (MIT; Megahed et al. 2025), for a test.

They are fetched once into the user's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.user_folders import user_folder


def textile_images() -> Path:
    """Return the folder of the images; skip the test if it is not there and may not be fetched."""
    folder = user_folder("cache") / "import-environments" / "textile"
    images = folder / "conformal_clip_data" / "data" / "textile_images"
    if not images.exists():
        if os.environ.get("INSPECTION_IMPORTERS") != "make":
            pytest.skip("the textile images are not there: `make test-importers` fetches them (42 MB)")
        lock = Path(__file__).parents[2] / "infra" / "locks" / "textile.lock"
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", lock,
                "--target", folder,
            ],
            check=True, timeout=900,
        )  # fmt: skip
    return images
