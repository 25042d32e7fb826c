"""TCP ports on loopback."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

from infra.broker.errors import BrokerError

#: First and last port that the kernel gives to outgoing connections; see ip(7).
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: First and last port for servers where that file is missing or leaves less than ``_FEW`` ports.
_LOWEST, _HIGHEST, _FEW = 10_000, 32_767, 1_000
_TRIALS = 50
_RANDOM = random.SystemRandom()


def listens(port: int) -> bool:
    """Return True if a program accepts connections at this port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port(wanted: int = 0) -> int:
    """Return the wanted port if it is free; for 0, return any free port.

    A port chosen for 0 is not one that the kernel gives to outgoing connections. Otherwise a client could take it
    before its server starts, or while the server restarts.

    Raises
    ------
    BrokerError
        If another program uses the port, if this user may not use it, or if there is no such port.

    Examples
    --------
    >>> free_port() > 0
    True
    """
    if not 0 <= wanted <= 65535:
        raise BrokerError(f"port {wanted} is not one: choose from 0 (any free one) to 65535")
    if wanted:
        return _bound(wanted)
    highest = _highest_server_port()
    for _ in range(_TRIALS):
        try:
            return _bound(_RANDOM.randint(_LOWEST, highest))
        except BrokerError:
            continue
    return _bound(0)


def _bound(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = "is in use by another program" if error.errno == errno.EADDRINUSE else f"({error.strerror})"
            raise BrokerError(f"port {port} on 127.0.0.1 {why}; choose one with --port") from error
        return int(probe.getsockname()[1])


def _highest_server_port() -> int:
    try:
        highest = int(_EPHEMERAL.read_text().split()[0]) - 1
    except (OSError, ValueError, IndexError):
        return _HIGHEST
    return highest if highest >= _LOWEST + _FEW else _HIGHEST
