"""Steps of threads that must not end: an error that nobody expects is one line, and the next step follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import error_line

#: Pause after an error, in seconds: a step that always fails must not take a core.
_PAUSE_S = 0.1


@contextmanager
def surviving(log: logging.Logger, what: str) -> Iterator[None]:
    """Log an error of the block instead of ending the thread; after it, the block's variables may be unset.

    Use it for one step of a thread whose end nobody would notice. A thread whose end somebody notices should end.

    Parameters
    ----------
    what
        Name of the step, for the log.

    Examples
    --------
    >>> with surviving(logging.getLogger("silent"), "the division"):
    ...     print(1 / 0)
    >>> print("on")
    on
    """
    try:
        yield
    except Exception as error:
        log.error(
            "%s failed by a fault of the program, and goes on: %s: %s", what, type(error).__name__, error_line(error)
        )
        log.debug("%s", what, exc_info=error)
        time.sleep(_PAUSE_S)
