"""Numbers of a worker that were typed wrong are refused at its start, in one line."""

from __future__ import annotations

import pytest

from schemas.errors import SettingsError
from stream_processors.worker.settings import WorkerSettings

HUGE = 99_999_999_999_999_999_999


@pytest.mark.parametrize("name", ["processes", "threads", "buffer_mib"])
@pytest.mark.parametrize("number", [0, -1, HUGE])
def test_a_number_that_was_typed_wrong_starts_no_worker(name: str, number: int) -> None:
    with pytest.raises(SettingsError, match=name.replace("_", "-")):
        WorkerSettings(**{name: number})
