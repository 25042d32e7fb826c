"""TCP ports on loopback."""

from __future__ import annotations

import errno
import socket

from infra.broker.errors import BrokerError


def listens(port: int) -> bool:
    """Return True if a program accepts connections at this port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port(wanted: int) -> int:
    """Return the wanted port if it is free; for 0, return any free port.

    Raises
    ------
    BrokerError
        If another program uses the port, if this user may not use it, or if there is no such port.

    Examples
    --------
    >>> free_port(0) > 0
    True
    """
    if not 0 <= wanted <= 65535:
        raise BrokerError(f"port {wanted} is not one: choose from 0 (any free one) to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            why = "is in use by another program" if error.errno == errno.EADDRINUSE else f"({error.strerror})"
            raise BrokerError(f"port {wanted} on 127.0.0.1 {why}; choose one with --port") from error
        return int(probe.getsockname()[1])
