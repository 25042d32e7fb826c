"""Acts of commands in the audit log; a warning goes to the terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from infra.cli.shared.terminal_text import echo

if TYPE_CHECKING:
    from operations.trail.record import Deed
    from schemas.settings import KafkaSettings


def audited(kafka: KafkaSettings, deed: Deed, *, writes: str) -> AbstractContextManager[None]:
    """Return a block whose act is in the audit log before it begins, see `operations.trail.record.recorded`.

    Parameters
    ----------
    writes
        Topic that the act writes. Without the right to write it nothing is recorded.
    """
    from operations.trail.record import recorded
    from transport.rights import require_rights

    require_rights(kafka, write=[writes])
    return recorded(kafka, deed, warn)


def warn(line: str) -> None:
    """Print a warning."""
    echo(f"warning: {line}", err=True)
