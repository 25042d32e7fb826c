"""Name of this process in records: host and process id."""

from __future__ import annotations

import os
import socket

from schemas.text import file_text


def process_name() -> str:
    """Return host and process id.

    Examples
    --------
    >>> process_name().endswith(f"/{os.getpid()}")
    True
    """
    return f"{file_text(socket.gethostname())}/{os.getpid()}"
