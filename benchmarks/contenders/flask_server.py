"""A prediction server in Flask behind gunicorn: one POST of a JPEG, one JSON.

gunicorn's default workers, ``sync``: processes that each work on one request at a time, as many as there are to be
frames in flight (more were no faster). They close the connection after each request. Class ``gthread`` keeps it open,
which saves 0.5 ms a frame, but then a connection stays with the worker that took it: of two workers one may idle, and
the same command gave anything from 160 to 300 frames/s. ``sync`` gives 260, every time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, request

from benchmarks.contenders.job import Network, parse


def create_app(model: str) -> Flask:
    """The application, with the model in the folder ``model``."""
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
    """Become gunicorn."""
    job = parse(__doc__)
    command = [
        sys.executable, "-m", "gunicorn", "--bind", urlsplit(job.url).netloc, "--workers", str(job.threads),
        "--log-level", "warning",
        f"benchmarks.contenders.flask_server:create_app('{job.model}')",
    ]  # fmt: skip
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
