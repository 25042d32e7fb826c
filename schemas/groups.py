"""Names of consumer groups. Only `WORKERS` and `WATCH` are joined, and options may give them other names.

librdkafka requires a group id of every consumer. One that is assigned its partitions and commits nothing joins no
group; yet it asks the cluster for the coordinator of its group, which needs the right to DESCRIBE it.
"""

from __future__ import annotations

import uuid

WORKERS = "inspection-workers"
#: Ending of the name of the second group of workers, which answer every frame as well.
REDUNDANT = "-redundant"
WATCH = "inspection-watch"

WATCH_STATE = "inspection-watch-state"
RETRIES = "inspection-retries"
READER = "inspection-reader"
#: Beginning of the names of groups that nobody else has.
UNUSED = "unused-"


def unused_group() -> str:
    """Return the name of a group that no other consumer has.

    Examples
    --------
    >>> unused_group().startswith(UNUSED)
    True
    """
    return f"{UNUSED}{uuid.uuid4()}"
