"""Load over HTTP, against a small server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.http_load import saturate, send_at
from benchmarks.open_loop import Schedule

#: Time of an answer, in seconds.
_ANSWER_S = 0.05


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(_ANSWER_S)
        self.send_response(200 if body == b"good" else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_late_request_has_waited_since_its_time(url: str) -> None:
    """One client at twice the rate of its server: each request waits for all the earlier ones."""
    found = send_at(url, [b"good"], Schedule(rate=2 / _ANSWER_S, seconds=1.0, cameras=1))
    assert len(found.latencies_ms) == 40
    assert found.latencies_ms[-1] > 0.4 * 1000


def test_what_is_refused_has_no_latency(url: str) -> None:
    found = saturate(url, [b"good", b"bad"], clients=2, seconds=0.3)
    assert found.refused > 0
    assert found.latencies_ms
    assert min(found.latencies_ms) >= 1000 * _ANSWER_S
