"""Pictures and heat maps as ``data:`` addresses, for HTML pages that open without a network."""

from __future__ import annotations

import base64

import numpy as np

from models.explain import HeatMap
from models.opencv import cv2
from models.sample_depth import Image

#: Maximum bytes of a picture.
_MAX_BYTES = 60_000
#: Minimum of the value that gets the full colour: a heat map with only smaller values stays faint, as it means nothing.
_FAINT = 0.02


def picture_address(pixels: Image) -> str:
    """Return a picture as a JPEG of a bounded size."""
    data = b""
    for quality in (80, 60, 35):
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= _MAX_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def overlay_address(heat: HeatMap) -> str:
    """Return a small transparent PNG to stretch over the picture in the browser: red for a defect, blue against one."""
    values = heat.values
    most = max(float(np.abs(values).max()), 1.0 if heat.kind == "anomaly" else _FAINT)
    strength = np.clip(np.abs(values) / most, 0, 1)
    pixels = np.zeros((*values.shape, 4), np.uint8)  # BGRA
    pixels[values >= 0, :3] = (0, 60, 255)
    pixels[values < 0, :3] = (255, 120, 0)
    pixels[:, :, 3] = np.rint(strength * 150)
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()
