"""Gateways in the process of the test, and a client for them."""

from __future__ import annotations

import http.client
import json
import re
import resource
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

from gateway.run import GatewayReport, run_gateway
from gateway.settings import GatewaySettings
from infra.broker.certificates import CertificateAuthority
from infra.demo.processes import inspection_command
from infra.parent_death import end_with_parent
from schemas import KafkaSettings
from tests.support.image_files import png

#: Longest wait for something that happens soon on an idle machine, in seconds.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Answer:
    """Answer of a gateway."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass
class RunningGateway:
    """Gateway that answers at ``url``."""

    url: str
    stop: threading.Event
    reports: list[GatewayReport] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return ask(self.url, method, path, body, **headers)

    def inspect(self, image: bytes, query: str = "", **headers: str) -> Answer:
        named = {"Content-Type": "image/png", "Prefer": "wait=60", **headers}
        return self.ask("POST", f"/v1/inspections{query}", image, **named)


def ask(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    timeout_s: float = 90,
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Send a request; underscores in the names of headers are hyphens."""
    address = urlsplit(url).netloc
    connection = (
        http.client.HTTPConnection(address, timeout=timeout_s)
        if context is None
        else http.client.HTTPSConnection(address, timeout=timeout_s, context=context)
    )
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


@dataclass(frozen=True)
class Served:
    """Line with a worker and a gateway."""

    kafka: KafkaSettings
    gateway: RunningGateway


@contextmanager
def running_gateway(
    kafka: KafkaSettings, *, context: ssl.SSLContext | None = None, **settings: Any
) -> Iterator[RunningGateway]:
    """Run a gateway that has read the decisions of the last minutes; ``context`` is for one with TLS."""
    stop, listening = threading.Event(), threading.Event()
    running = RunningGateway("", stop)

    def on_ready(url: str) -> None:
        running.url = url
        listening.set()

    def run() -> None:
        try:
            chosen = GatewaySettings(**{"port": 0, "instance": "test", **settings})
            running.reports.append(run_gateway(kafka, chosen, stop, on_ready))
        except Exception as error:  # noqa: BLE001 - the test raises it
            running.errors.append(error)
            listening.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert listening.wait(PATIENCE_S)
        if running.errors:
            raise running.errors[0]
        wait_until(lambda: ask(running.url, "GET", "/ready", context=context).status == 200)
        yield running
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not running.errors


def make_tls(folder: Path) -> tuple[dict[str, Path], ssl.SSLContext]:
    """Return the settings of a gateway with TLS, and the context of its clients."""
    authority = CertificateAuthority("plant-ca")
    issued = authority.issue("gateway", ["127.0.0.1"])
    certificate, key = folder / "chain.pem", folder / "key.pem"
    certificate.write_bytes(issued.certificate)
    key.touch(0o600)
    key.write_bytes(issued.key)
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())
    return {"tls_certificate": certificate, "tls_key": key}, trusting


class GatewayProcess:
    """Process of `inspection gateway`, with its log in a file.

    Parameters
    ----------
    open_files
        Soft and hard limit of its open files; None: those of the test.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        log: Path,
        *options: str,
        port: int = 0,
        open_files: tuple[int, int] | None = None,
    ) -> None:
        self._log = log
        place = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix, "--port", str(port)]
        ends_with_parent = end_with_parent()

        def prepare() -> None:
            ends_with_parent()
            if open_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, open_files)

        with log.open("wb") as out:
            self.process = subprocess.Popen(
                inspection_command("gateway", *place, *options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=out, preexec_fn=prepare, text=True,
            )  # fmt: skip
        wait_until(lambda: self.process.poll() is not None or self._found())
        assert self.process.poll() is None, log.read_text()
        found = self._found()
        assert found is not None
        self.url = found[1]

    def _found(self) -> re.Match[str] | None:
        return re.search(r"gateway at (https?://\S+):", self._log.read_text())

    def await_ready(self) -> None:
        """Wait until the gateway takes requests."""
        wait_until(lambda: ask(self.url, "GET", "/ready").status == 200)

    def inspect(self, image: bytes) -> Answer:
        """Ask with an image, and wait for the decision."""
        named = {"Content-Type": "image/png", "Prefer": "wait=60"}
        return ask(self.url, "POST", "/v1/inspections", image, **named)

    def stop(self) -> str:
        """End the gateway in order, and return what it printed."""
        self.process.terminate()
        return self.process.communicate(timeout=PATIENCE_S)[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def make_image(seed: int) -> bytes:
    """Return a small grey PNG."""
    return png(np.random.default_rng(seed).integers(0, 255, (120, 160)).astype(np.uint8))


def wait_until(holds: Any) -> None:
    """Wait until something holds."""
    pause = threading.Event()
    for _ in range(round(PATIENCE_S / 0.02)):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError("it did not come to hold in time")


def form(*parts: tuple[str, bytes], boundary: str = "edge") -> tuple[bytes, str]:
    """Return the body of a form, and its content type."""
    body = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (boundary.encode(), name.encode(), data)
        for name, data in parts
    )
    return body + b"--%s--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"
