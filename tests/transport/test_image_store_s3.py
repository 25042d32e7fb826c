"""The image store on S3: a real server of the protocol, and endpoints that are dead. Each end is bounded in time."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.config import conf
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.records import ImageReference
from tests.support.s3 import files, refused_endpoint, s3_server, s3_settings, silent_endpoint
from transport.image_store import ImageStore, ImageStoreError

DATA = bytes(range(256)) * 100
SHA256 = hashlib.sha256(DATA).hexdigest()
URI = "s3://images/line"
REFERENCE = ImageReference(f"{URI}/1970-01-01/00/press.top/{SHA256}.jpeg", len(DATA))

# The server runs in a thread of the test process, and the store gives up after a short time.
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(server: str) -> Iterator[Any]:
    """An empty bucket ``images``, as the file system sees it."""
    with s3_settings(server):
        found = files()
        for path in found.find("images"):
            found.rm_file(path)
        yield found


def put(store: ImageStore, captured_at_us: int = 0) -> ImageReference:
    return store.put("press", "top", captured_at_us, SHA256, DATA, "jpeg")


def kind_of(store: ImageStore) -> str:
    with pytest.raises(ImageStoreError) as caught:
        store.get(REFERENCE, SHA256)
    return caught.value.kind


def test_what_is_put_is_read_and_swept(bucket: Any) -> None:
    store = ImageStore(URI)
    assert store.sweep(10**15) == []
    assert put(store) == put(store) == REFERENCE
    assert bucket.find("images") == [REFERENCE.uri.removeprefix("s3://")]
    assert ImageStore(URI).get(REFERENCE, SHA256) == DATA
    put(store, 3 * 3_600_000_000)
    assert store.sweep(7_200_000_000, dry_run=True) == ["1970-01-01/00"]
    assert store.sweep(7_200_000_000) == ["1970-01-01/00"]
    assert len(bucket.find("images")) == 1
    assert kind_of(store) == "image-missing"


ALTERED = {"emptied": b"", "cut": DATA[:-1], "longer": DATA + b"x", "flipped": b"\xff" + DATA[1:]}


@pytest.mark.parametrize("data", ALTERED.values(), ids=ALTERED)
def test_an_altered_image_is_refused(bucket: Any, data: bytes) -> None:
    store = ImageStore(URI)
    put(store)
    bucket.pipe_file(REFERENCE.uri, data)
    assert kind_of(store) == "image-altered"
    bucket.pipe_file(REFERENCE.uri, DATA)
    assert store.get(REFERENCE, SHA256) == DATA  # what was wrong with one object is no outage


def test_an_absent_bucket_is_no_missing_image(bucket: Any) -> None:
    store = ImageStore("s3://nowhere/line")
    assert kind_of(store) == "image-store-unavailable"
    with pytest.raises(ImageStoreError, match="bucket does not exist"):
        put(ImageStore("s3://nowhere/line"))
    result = CliRunner().invoke(app, ["images", "sweep", "--image-store", "s3://nowhere/line", "--older-than", "1h"])
    assert isinstance(result.exception, ImageStoreError)
    assert result.exception.exit_code == 1
    assert str(result.exception) == "s3://nowhere/line cannot be swept: The specified bucket does not exist"


def test_an_image_that_may_not_be_read_is_no_outage(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ImageStore(URI)
    put(store)
    with monkeypatch.context() as patch:
        patch.setattr("transport.image_store.read", lambda *_: (_ for _ in ()).throw(PermissionError("Forbidden")))
        assert kind_of(store) == "image-store-unavailable"
    assert store.get(REFERENCE, SHA256) == DATA


@pytest.mark.parametrize("endpoint", ["silent", "refused"])
@pytest.mark.parametrize("what", ["get", "put", "sweep"])
def test_a_dead_endpoint_is_given_up_soon(endpoint: str, what: str) -> None:
    with silent_endpoint() as silent, s3_settings(silent if endpoint == "silent" else refused_endpoint()):
        store = ImageStore(URI)
        actions = {
            "get": lambda: store.get(REFERENCE, SHA256),
            "put": lambda: put(store),
            "sweep": lambda: store.sweep(10**15),
        }
        began = time.monotonic()
        with pytest.raises(ImageStoreError) as caught:
            actions[what]()
        assert caught.value.kind == "image-store-unavailable"
        assert time.monotonic() - began < 20
        if what == "sweep":
            return
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(ImageStoreError, match="did not answer a moment ago"):
                actions[what]()
        assert time.monotonic() - began < 20  # a hundred tries of the endpoint take longer


def test_the_usual_settings_may_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def config(**options: Any) -> dict[str, Any]:
        return dict(ImageStore(URI, **options)._files.config_kwargs)

    assert config() == {"connect_timeout": 1.0, "read_timeout": 2.0, "retries": {"total_max_attempts": 1}}
    assert config(config_kwargs={"read_timeout": 9})["read_timeout"] == 9
    monkeypatch.setitem(conf, "s3", {"config_kwargs": {"connect_timeout": 7}})
    assert config()["connect_timeout"] == 7
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")
    assert "retries" not in config()


def test_a_server_that_trickles_is_given_up_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def trickle() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 25600\r\n\r\n")
                while not stop.wait(0.2):  # never a silence of 2 s
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with s3_settings(f"http://127.0.0.1:{server.getsockname()[1]}"):
                began = time.monotonic()
                assert kind_of(ImageStore(URI)) == "image-store-unavailable"
                assert time.monotonic() - began < 20
        finally:
            stop.set()
            thread.join()


def test_the_missing_extra_is_named(repository: Path) -> None:
    program = (
        "import sys; sys.modules['s3fs'] = None; from transport.image_store import ImageStore; ImageStore('s3://b')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=repository)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("schemas.errors.SettingsError")
    assert last.endswith("pip install 'streaming-inspection[s3]'")
