"""A prediction server in FastAPI under uvicorn: one POST of a JPEG, one JSON.

``uvicorn[standard]`` brings uvloop and httptools; the access log is off. The endpoint is a coroutine that reads the
body and infers in place: each process works on one frame at a time, and there are as many processes as frames are to
be in flight.
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
    """Whether it serves."""
    return "ok"


@app.post("/predict")
async def predict(request: Request) -> dict[str, float]:
    """The score of the JPEG in the body."""
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
