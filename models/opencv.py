"""OpenCV, imported with its limits set: import it from here, nowhere else.

The limit on pixels must be in the environment *before* OpenCV is imported, or it has no effect: a 360 kB JPEG
with a forged 30000x30000 header then takes 14 s and 5 GB. One thread, because the frames of a line are
many and small: they are spread over threads one image each.
"""

from __future__ import annotations

import os

#: Most pixels that OpenCV decodes: 100 megapixels, above any area camera of a line.
MAX_IMAGE_PIXELS = 100_000_000

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_IMAGE_PIXELS))

import cv2  # noqa: E402 - after the limit

cv2.setNumThreads(1)

__all__ = ["MAX_IMAGE_PIXELS", "cv2"]
