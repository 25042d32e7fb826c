"""How our programs log: one line an event, to standard error."""

from __future__ import annotations

import logging
import sys

#: Libraries whose every step is no news; their warnings are.
_NOISY = ("aiokafka", "faust", "mode", "asyncio", "botocore", "aiobotocore")


def set_up_logging(level: int, process: str = "") -> None:
    """Log from ``level`` on; ``process`` is put into each line where several write to one terminal."""
    who = f" [{process}]" if process else ""
    logging.basicConfig(level=level, format=f"%(asctime)s %(levelname)s{who} %(name)s: %(message)s", stream=sys.stderr)
    if level > logging.DEBUG:
        for noisy in _NOISY:
            logging.getLogger(noisy).setLevel(logging.WARNING)
