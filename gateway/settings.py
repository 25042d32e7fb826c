"""Settings of a gateway."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from schemas.addresses import masked_repr
from schemas.errors import SettingsError

DEFAULT_PORT = 8080
#: Station of requests that name none.
DEFAULT_STATION = "http"
_MIB = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-]{1,50}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GatewaySettings:
    """Settings of a gateway.

    Parameters
    ----------
    line
        Line of the frames.
    station
        Station of requests that name none.
    instance
        Name of this process in the names of its cameras. No two gateways of a line have the same name. None: the name
        of the machine and the port.
    host, port, reuse_port
        Address to listen on, port (0: a free one), and True if other gateways share the port.
    cameras
        Cameras for each client. The frames of one camera are on one partition, so one worker inspects them.
    wait_s, longest_wait_s
        Wait for the decision if the request states none, and the longest wait, in seconds.
    waiting, waiting_per_client
        Most requests at the same time, of all clients and of one client.
    body_mib
        Memory for the bodies of all requests that are being read, in MiB.
    body_s
        Longest time to read a body, in seconds.
    head_s
        Longest time until the head of a request is complete, in seconds; also for a connection without a request.
    connections
        Most open connections. A connection beyond closes the one that is idle for longest.
    worker_silent_s
        Time without any answer, in seconds, after which requests are refused because no worker answers.
    kept_s, kept, kept_mib
        Time in seconds, number, and size in MiB of the decisions that are kept for later requests.
    stop_s
        Longest time to answer the requests at hand after the stop, in seconds.
    image_store
        Store of images that are too large for the topic; None: such images are refused.
    largest_image_mib
        Largest image with an image store, in MiB.
    tokens
        File with the clients and their tokens; None: every client on this machine may do everything.
    label_key
        File of the private key that labels are signed with; None: that of the frames.
    tls_certificate, tls_key
        Files of the certificate chain and of its key; None: no TLS.

    Raises
    ------
    SettingsError
        If a value is impossible.
    """

    line: str = "line-1"
    station: str = DEFAULT_STATION
    instance: str | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    reuse_port: bool = False
    cameras: int = 1
    wait_s: float = 10.0
    longest_wait_s: float = 60.0
    waiting: int = 64
    waiting_per_client: int = 64
    body_mib: int = 128
    body_s: float = 30.0
    head_s: float = 10.0
    connections: int = 1000
    worker_silent_s: float = 5.0
    kept_s: float = 600.0
    kept: int = 20_000
    kept_mib: int = 64
    stop_s: float = 10.0
    image_store: str | None = None
    largest_image_mib: int = 64
    tokens: Path | None = None
    label_key: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def __repr__(self) -> str:
        return masked_repr(self, "image_store")

    def __post_init__(self) -> None:
        for name in ("cameras", "waiting", "waiting_per_client", "body_mib", "connections", "kept", "kept_mib"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; 1 or more")
        for name in ("wait_s", "longest_wait_s", "body_s", "head_s", "worker_silent_s", "kept_s", "stop_s"):
            if not 0 < getattr(self, name) < 1e6:
                raise SettingsError(f"{name} is {getattr(self, name)}; more than 0, and less than a million")
        if self.wait_s > self.longest_wait_s:
            raise SettingsError(f"wait_s is {self.wait_s}, more than longest_wait_s, {self.longest_wait_s}")
        if self.reuse_port and self.instance is None:
            raise SettingsError("--reuse-port needs --instance: gateways of one port need names of their own")
        names = {"line": self.line, "station": self.station, "instance": self.instance}
        for what, text in names.items():
            if text is not None and not _NAME.fullmatch(text):
                raise SettingsError(f"{what} {text!r}: 1 to 50 ASCII letters, digits, '_' or '-'")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError("TLS needs both files, --tls-certificate and --tls-key")

    @property
    def most_body_bytes(self) -> int:
        """Memory for the bodies of requests, in bytes."""
        return self.body_mib * _MIB


def default_instance(port: int) -> str:
    """Return a name for this process that a restart keeps: the machine's name and the port.

    Examples
    --------
    >>> default_instance(8080).endswith("-8080")
    True
    """
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname()).strip("-")[:40] or "gateway"
    return f"{host}-{port}"
