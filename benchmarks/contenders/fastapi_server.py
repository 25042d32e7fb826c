"""Prediction server in FastAPI under uvicorn: a POST of a JPEG returns one JSON object.

``uvicorn[standard]`` installs uvloop and httptools; the access log is off. The endpoint is a coroutine that reads the
body and runs the network itself. So each process works on one frame at a time, and there is one process for each frame
in flight.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request

from benchmarks.contenders.job import Network, parse

_MODEL = "BENCH_MODEL"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.network = Network(Path(os.environ[_MODEL]))
    yield


app = FastAPI(lifespan=_lifespan)


@app.get("/health")
async def health() -> str:
    """Answer that the server is ready."""
    return "ok"


@app.post("/predict")
async def predict(request: Request) -> dict[str, float]:
    """Return the score of the JPEG in the body."""
    return {"score": app.state.network.score(await request.body())}


def main() -> None:
    """Serve until told to stop."""
    job = parse(__doc__)
    os.environ[_MODEL] = str(job.model)
    place = urlsplit(job.url)
    uvicorn.run(
        "benchmarks.contenders.fastapi_server:app",
        host=place.hostname or "127.0.0.1",
        port=place.port or 0,
        workers=job.threads,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
