"""Number of files that the process may open: every connection is one."""

from __future__ import annotations

import resource
from contextlib import suppress

#: Files for all but the connections: clients of Kafka with a socket for each broker, logs, sockets of the siblings.
RESERVED = 256


def room_for(connections: int) -> int:
    """Raise the soft limit of open files so that the connections have room, and return how many have it.

    If the hard limit is too low for all, it is the limit less a reserve; of a very low limit it is half.
    """
    needed = connections + RESERVED
    limit = _raise_limit(needed)
    return min(connections, max(1, limit - RESERVED, limit // 2))


def _raise_limit(needed: int) -> int:
    """Raise the soft limit to the needed one or to the hard one, and return it. A higher one stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):  # a system may have a limit of its own below the hard one
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
