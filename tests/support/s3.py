"""S3 for tests: a real server of the protocol on loopback, and endpoints that are dead."""

from __future__ import annotations

import logging
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def s3_settings(endpoint: str) -> Iterator[None]:
    """The usual AWS variables, pointing to an endpoint; subprocesses inherit them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "dummy")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_PROFILE", "AWS_MAX_ATTEMPTS", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        yield


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server with the bucket ``images``; gives its endpoint."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # What an earlier server of this process was given is kept in the process, not in the server.
        urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
        with s3_settings(f"http://{host}:{port}"):
            files().mkdir("images")
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def silent_endpoint() -> Iterator[str]:
    """Takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def refused_endpoint() -> str:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def files() -> Any:
    """The file system without our store above it, to break what lies there."""
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
