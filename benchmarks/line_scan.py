"""Line-scan images with tiles: a small defect, frames each second, and the peak memory of the process.

Made-up webs of 16384x4096 pixels, grey, as PNG. A model is trained on good ones with tiles; then a good web and a web
with a hole of 12 pixels are inspected by the function of the worker on one core. The
making of the webs, the training and the inspection are processes of their own, so that each memory is its own.

    nice -n 15 python -m benchmarks.line_scan
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from models.opencv import cv2

WH = (16_384, 4_096)
HOLE_PX = 12


def web(seed: int, hole_at: tuple[int, int] | None = None) -> np.ndarray:
    """Return a web with grain and streaks; with a dark hole if a place is given."""
    rng = np.random.default_rng(seed)
    grain = cv2.resize(rng.normal(0, 9, (WH[1] // 2, WH[0] // 2)).astype(np.float32), WH)
    streaks = cv2.resize(rng.normal(120, 4, (WH[1] // 64, 1)).astype(np.float32), WH, interpolation=cv2.INTER_CUBIC)
    image: np.ndarray = np.clip(streaks + grain, 0, 255).astype(np.uint8)
    if hole_at is not None:
        cv2.circle(image, hole_at, HOLE_PX // 2, 15, -1, cv2.LINE_AA)
    return image


def encoded(image: np.ndarray) -> bytes:
    """Return the image as a PNG."""
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def make_webs(folder: Path, images: int) -> None:
    """Write good webs to learn from, and four webs to inspect: the second and the fourth have a hole."""
    (folder / "good").mkdir()
    for number in range(images):
        (folder / "good" / f"{number:03}.png").write_bytes(encoded(web(number)))
    for number, place in enumerate((None, (9_000, 2_000), None, (310, 4_000))):
        (folder / f"{number}.png").write_bytes(encoded(web(10_000 + number, place)))


def train_model(folder: Path, tiles: str) -> None:
    """Train a model on some webs and write its package to ``folder/tiled``."""
    from models.input_text import parse_tiles
    from models.training.features import InspectedPart
    from models.training.train import TrainingOptions, train
    from models.training.write_package import write_package

    part = InspectedPart(tiles=parse_tiles(tiles))
    options = TrainingOptions(max_ms=1e6, time_budget_s=0.001, part=part)
    result = train(folder / "good", options)
    write_package(result, folder / "tiled", options)
    sys.stdout.write(f"training: {result.took_s:.0f} s, {_peak_mib()} MiB\n")


def inspect(folder: Path, rounds: int) -> None:
    """Inspect webs with the model; print the figures as JSON."""
    from models import inspect_image, load_model

    model = load_model(folder / "tiled")
    webs = [(folder / f"{number}.png").read_bytes() for number in range(4)]
    figures: dict[str, object] = {"scores": [round(inspect_image(image, model).score or 0.0, 3) for image in webs]}
    found = inspect_image(webs[1], model)
    figures["boxes of the second"] = [[round(side) for side in defect.box_xywh] for defect in found.defects]
    began = time.perf_counter()
    spent = time.process_time()
    for number in range(rounds):
        inspect_image(webs[number % len(webs)], model)
    figures["frames/s, elapsed"] = round(rounds / (time.perf_counter() - began), 3)
    figures["frames/s, processor time of one core"] = round(rounds / (time.process_time() - spent), 3)
    figures["decode and resize, ms"] = round(found.durations_ms["decode"])
    figures["network, ms"] = round(found.durations_ms["infer"])
    figures["peak memory, MiB"] = _peak_mib()
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def _peak_mib() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10, help="Good webs to learn from.")
    parser.add_argument("--tiles", default="512x512px", help="Tiles, as for `inspection train`.")
    parser.add_argument("--rounds", type=int, default=4, help="Timed inspections.")
    parser.add_argument("--step", choices=("make", "train", "inspect"))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step == "train":
        train_model(given.folder, given.tiles)
    elif given.step == "make":
        make_webs(given.folder, given.images)
    elif given.step == "inspect":
        inspect(given.folder, given.rounds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for step in ("make", "train", "inspect"):
                subprocess.run(
                    [sys.executable, "-m", "benchmarks.line_scan", "--folder", folder, "--step", step,
                     "--images", str(given.images), "--tiles", given.tiles, "--rounds", str(given.rounds)],
                    check=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
