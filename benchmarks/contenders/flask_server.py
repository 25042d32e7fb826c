"""Prediction server in Flask behind gunicorn: a POST of a JPEG returns one JSON object.

There is one gunicorn process for each frame in flight, of class ``gthread`` with four threads. So connections stay
open, and a process reads the next request while it infers. This reached 1.05 to 1.22 times the frames a second of the
default class, ``sync`` (four rounds, the demo's images, two cores).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, request

from benchmarks.contenders.job import Network, parse


def create_app(model: str) -> Flask:
    """Return the application, with the model in the folder ``model``."""
    app = Flask(__name__)
    network = Network(Path(model))

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/predict")
    def predict() -> dict[str, float]:
        return {"score": network.score(request.get_data(cache=False))}

    return app


def main() -> None:
    """Replace this process with gunicorn."""
    job = parse(__doc__)
    command = [
        sys.executable, "-m", "gunicorn", "--bind", urlsplit(job.url).netloc, "--workers", str(job.threads),
        "--worker-class", "gthread", "--threads", "4", "--keep-alive", "75", "--log-level", "warning",
        f"benchmarks.contenders.flask_server:create_app('{job.model}')",
    ]  # fmt: skip
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
