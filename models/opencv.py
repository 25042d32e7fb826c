"""OpenCV, imported with its limits set. Import it only from this module.

The limit on pixels must be in the environment *before* OpenCV is imported, or it has no effect. It follows
`schemas.settings.ImageSettings`. Messages of OpenCV and FFmpeg on standard error are off: our
errors carry the reasons, through logging; ``OPENCV_LOG_LEVEL`` and ``OPENCV_FFMPEG_LOGLEVEL`` turn them on. OpenCV
uses one thread, because the frames of a line are many and small: each thread of the worker decodes its own image.
"""

from __future__ import annotations

import os

from models.image_limits import LIMITS

#: Most pixels that OpenCV decodes, from the settings.
MAX_IMAGE_PIXELS = LIMITS.max_pixels

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_IMAGE_PIXELS)
# FFmpeg's AV_LOG_QUIET.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2  # noqa: E402 - after the limit

cv2.setNumThreads(1)
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

__all__ = ["MAX_IMAGE_PIXELS", "cv2"]
