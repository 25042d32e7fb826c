"""Healthy files of many encoders: they decode to the same pixels as with OpenCV, byte for byte."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from models.datasets.elpv import load_cells
from models.images import decode
from models.opencv import cv2

_GREY = {1: cv2.IMREAD_GRAYSCALE, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4}
_COLOUR = {1: cv2.IMREAD_COLOR_BGR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
_SUBSAMPLINGS = (0x411111, 0x221111, 0x211111, 0x121111, 0x111111)


def cells() -> list[np.ndarray]:
    """Return labelled cells, grey and tinted."""
    found = []
    for cell in load_cells("test")[:6]:
        grey = decode(cell.path.read_bytes()).pixels
        found += [grey, cv2.merge([grey, cv2.GaussianBlur(grey, (5, 5), 1), 255 - grey])]
    return found


def by_opencv(image: np.ndarray) -> list[bytes]:
    progressive, optimised, restarts = (cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_OPTIMIZE,
                                        cv2.IMWRITE_JPEG_RST_INTERVAL)  # fmt: skip
    options = [[], [progressive, 1], [optimised, 1], [restarts, 3], [progressive, 1, restarts, 1]]
    options += [[cv2.IMWRITE_JPEG_SAMPLING_FACTOR, each] for each in _SUBSAMPLINGS]
    options += [[cv2.IMWRITE_JPEG_QUALITY, each] for each in (1, 50, 100)]
    found = [cv2.imencode(".jpg", image, each)[1].tobytes() for each in options]
    found += [cv2.imencode(".jpg", image[:297, :299], each)[1].tobytes() for each in options]
    for suffix in (".png", ".bmp", ".tiff"):
        found += [cv2.imencode(suffix, each)[1].tobytes() for each in (image, image[:7, :5])]
    return found


def by_pillow(image: np.ndarray) -> list[bytes]:
    picture = Image.fromarray(image if image.ndim == 2 else image[:, :, ::-1])
    tables = [[(number * 37) % 900 + 1 for number in range(64)]] * 2  # of 16 bits
    jpegs: list[tuple[Image.Image, dict[str, object]]] = [
        (picture, {}), (picture, {"progressive": True, "optimize": True}), (picture, {"qtables": tables}),
        (picture, {"comment": b"\xff\xd9", "exif": Image.Exif()}), (picture, {"restart_marker_rows": 1}),
    ]  # fmt: skip
    if image.ndim == 3:
        jpegs += [(picture.convert("CMYK"), {}), (picture, {"keep_rgb": True}), (picture, {"subsampling": 0})]
    files = [("JPEG", *each) for each in jpegs]
    files += [("PNG", picture.convert(mode), {}) for mode in ("1", "L", "P", "RGB", "RGBA", "LA")]
    files += [("BMP", picture.convert(mode), {}) for mode in ("1", "L", "P", "RGB")]
    files += [("TIFF", picture, {"compression": each}) for each in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")]
    found = []
    for kind, each, options in files:
        target = io.BytesIO()
        each.save(target, kind, **options)
        found.append(target.getvalue())
    return found


def by_turbojpeg(image: np.ndarray) -> list[bytes]:
    if image.ndim == 2:
        return [simplejpeg.encode_jpeg(np.ascontiguousarray(image[:, :, None]), 90, "GRAY", "Gray")]
    return [simplejpeg.encode_jpeg(image, 80, "BGR", each) for each in ("444", "422", "420", "440", "411")]


def by_ffmpeg(image: np.ndarray) -> list[bytes]:
    """Return the frames of a Motion JPEG file, as FFmpeg's encoder or OpenCV's own writes them."""
    import tempfile

    colour = image if image.ndim == 3 else cv2.merge([image] * 3)
    found = []
    for api in (cv2.CAP_FFMPEG, cv2.CAP_OPENCV_MJPEG):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.avi"
            writer = cv2.VideoWriter(str(path), api, cv2.VideoWriter_fourcc(*"MJPG"), 10.0, colour.shape[1::-1])
            assert writer.isOpened()
            writer.write(colour)
            writer.release()
            data = path.read_bytes()
        begin = data.index(b"\xff\xd8\xff")
        found.append(data[begin : data.index(b"\xff\xd9", begin) + 2])
    return found


@pytest.mark.parametrize("encoder", [by_opencv, by_pillow, by_turbojpeg, by_ffmpeg])
def test_pixels_are_those_of_opencv(encoder: object) -> None:
    compared = 0
    for image in cells():
        for data in encoder(image):  # type: ignore[operator]
            for flags, colour in ((_GREY, False), (_COLOUR, True)):
                for by, flag in flags.items():
                    decoded = decode(data, colour=colour, needed_wh=(300 // by, 300 // by) if by > 1 else None)
                    is_reduced = decoded.pixels.shape[0] < decoded.header.height
                    expected = cv2.imdecode(
                        np.frombuffer(data, np.uint8), flag if is_reduced else flags[1] | cv2.IMREAD_IGNORE_ORIENTATION
                    )
                    np.testing.assert_array_equal(decoded.pixels, expected)
                    compared += 1
    assert compared >= 60
