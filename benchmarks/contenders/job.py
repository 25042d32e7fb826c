"""Command line of every contender except ours, and the code that all of them share.

Preprocessing is that of a first draft: `cv2.imdecode`, `cv2.resize`, the network. The JSON object has the minimum that
a gate needs. For the peers a message is just the bytes of the image, so they have no cost of Avro.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import cv2
import numpy as np
import onnxruntime as ort
import yaml


@dataclass(frozen=True, slots=True)
class Job:
    """Options of a contender: broker, topics, consumer group, model, threads, server."""

    bootstrap_servers: str
    frames: str
    decisions: str
    group: str
    model: Path
    threads: int
    reduced: bool
    url: str
    from_memory: bool


def parse(description: str | None) -> Job:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--frames", required=True, help="topic of JPEG images")
    parser.add_argument("--decisions", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model package")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reduced", action="store_true", help="decode at the scale that the model needs")
    parser.add_argument("--url", default="", help="URL of the prediction server, for a bridge to one")
    parser.add_argument("--from-memory", action="store_true", help="send the same images again, without Kafka before")
    return Job(**vars(parser.parse_args()))


class Network:
    """Model as in a first draft: a session, and the preprocessing of its input.

    Parameters
    ----------
    model
        Folder of the model package.
    reduced
        True: decode a JPEG at a half, a quarter or an eighth of its size if that is large enough.
    """

    def __init__(self, model: Path, *, reduced: bool = False) -> None:
        cv2.setNumThreads(1)
        manifest = yaml.safe_load((model / "manifest.yaml").read_text(encoding="utf-8"))
        spec = manifest["input"]
        self._name, self._wh = spec["name"], (spec["width"], spec["height"])
        self._grey = spec["colour"] == "grey"
        self._reduced = reduced
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(model / "model.onnx", options, providers=["CPUExecutionProvider"])

    def decode(self, image: bytes) -> Any:
        """Return the pixels of an image."""
        return cv2.imdecode(np.frombuffer(image, np.uint8), self._flags(image))

    def tensor(self, pixels: Any) -> Any:
        """Return the input tensor of the network, at the size that it needs."""
        small = cv2.resize(pixels, self._wh)
        if self._grey:
            return small[None, None]
        return np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1))[None]

    def infer(self, tensor: Any) -> float:
        """Return the defect score of a tensor."""
        [logit] = self._session.run(None, {self._name: tensor})
        return float(1 / (1 + np.exp(-logit[0, 0])))

    def score(self, image: bytes) -> float:
        """Return the defect score of an image."""
        return self.infer(self.tensor(self.decode(image)))

    def _flags(self, image: bytes) -> int:
        if not self._reduced:
            return int(cv2.IMREAD_GRAYSCALE if self._grey else cv2.IMREAD_COLOR)
        from models.images import image_header

        header = image_header(image)
        for by, grey, colour in (
            (8, cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8),
            (4, cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_COLOR_4),
            (2, cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_COLOR_2),
        ):
            if header.width // by >= self._wh[0] and header.height // by >= self._wh[1]:
                return int(grey if self._grey else colour)
        return int(cv2.IMREAD_GRAYSCALE if self._grey else cv2.IMREAD_COLOR)


def answer(partition: int | None, offset: int | None, score: float) -> bytes:
    """Return the decision as JSON: position of the frame, score and action."""
    action = "REJECT" if score >= 0.5 else "ACCEPT"
    return json.dumps({"partition": partition, "offset": offset, "score": score, "action": action}).encode()
