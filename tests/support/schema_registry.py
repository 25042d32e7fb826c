"""A real schema registry on loopback, Apicurio, and a guard before it that asks for a login over TLS."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.broker import maven
from infra.broker.java import find_java
from infra.broker.ports import free_port
from infra.parent_death import end_with_parent
from schemas.user_folders import user_folder

#: Path of the interface that Confluent's clients speak.
PATH = "/apis/ccompat/v7"
OLDEST_JAVA = 21


class Apicurio:
    """Registry in memory: a new start knows nothing.

    Parameters
    ----------
    folder
        Folder for its log.
    lock
        File with its Maven coordinates and sha256.
    """

    def __init__(self, folder: Path, lock: Path) -> None:
        self._folder = folder
        self._home = _unpacked(lock)
        self.port, self._management = free_port(0), free_port(0)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "APICURIO_STORAGE_KIND": "sql",
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(self.port),
            # By default this port is open on all addresses of the machine.
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(self._management),
        }
        command = [str(find_java(OLDEST_JAVA, "Apicurio")), "-Xmx256m", "-XX:+UseSerialGC", "-jar", "quarkus-run.jar"]
        with (self._folder / "apicurio.log").open("wb") as out:
            self._process = subprocess.Popen(
                command, cwd=self._home, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, preexec_fn=end_with_parent(),
            )  # fmt: skip
        until_s = time.monotonic() + 600
        while True:
            assert self._process.poll() is None, (self._folder / "apicurio.log").read_text()
            try:
                with urllib.request.urlopen(self.url + "/subjects", timeout=5):
                    return
            except OSError:
                assert time.monotonic() < until_s, "Apicurio does not answer"
                time.sleep(0.2)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _unpacked(lock: Path) -> Path:
    """Return the folder with its program, fetched once."""
    folder = user_folder("cache") / "apicurio-3.3.3"
    [archive] = maven.ensure(maven.read_lock(lock.read_text()), folder)
    with maven.exclusive(folder / ".unpack.lock"):
        if not (folder / "app" / "quarkus-run.jar").exists():
            with tarfile.open(archive) as file:
                file.extractall(folder / "app", filter="data")
    return folder / "app"


@contextmanager
def guard(backend_port: int | None, authorization: str, context: ssl.SSLContext | None = None) -> Iterator[Guard]:
    """Serve a guard on loopback.

    Parameters
    ----------
    backend_port
        Port of the registry; None: a guard with nothing behind it, which answers 503.
    authorization
        Header that it demands; empty: it demands none.
    context
        TLS of its port; None: plain HTTP.
    """
    with Guard(("127.0.0.1", 0), _Handler) as server:
        server.backend_port, server.authorization = backend_port, authorization
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Guard(ThreadingHTTPServer):
    """Proxy that passes on only requests with the right login."""

    daemon_threads = True
    backend_port: int | None = None
    authorization = ""
    scheme = "http"
    passed = 0

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"{self.scheme}://localhost:{self.server_port}{PATH}"

    def handle_error(self, *_: Any) -> None:
        """A handshake that fails is the client's to tell."""


class _Handler(BaseHTTPRequestHandler):
    server: Guard

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization", "") != self.server.authorization:
            self._answer(401, "text/html", b"<html>who are you?</html>")
            return
        if self.server.backend_port is None:
            self._answer(503, "text/plain", b"")
            return
        self.server.passed += 1
        backend = http.client.HTTPConnection("127.0.0.1", self.server.backend_port, timeout=30)
        headers = {name: self.headers[name] for name in ("Content-Type", "Accept") if name in self.headers}
        try:
            backend.request(self.command, self.path, body or None, headers)
            answer = backend.getresponse()
            self._answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
        except OSError:
            self._answer(502, "text/plain", b"")
        finally:
            backend.close()

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def basic(user: str, password: str) -> str:
    """Return the header of a login with a password (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
