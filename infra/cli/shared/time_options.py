"""Options of commands that read a time range of the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import SettingsError

if TYPE_CHECKING:
    from transport.topic_ranges import TimeRange

FromOption = Annotated[str | None, typer.Option("--from", help="Decisions since, as 2026-11-24T06:00.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Decisions before.")]
LastOption = Annotated[str | None, typer.Option(help="Decisions of the last 90s, 15m, 8h, 2d.")]
CameraOption = Annotated[str | None, typer.Option("--camera", help="Only this one, as station/camera.")]


def time_range(from_time: str | None, to_time: str | None, last: str | None) -> TimeRange:
    """Return the time range that the options name.

    Raises
    ------
    SettingsError
        If the options contradict each other, or name no valid time.

    Examples
    --------
    >>> time_range("2026-11-24T06:00:00Z", None, None).from_us
    1795500000000000
    """
    import time

    from infra.cli.shared.times import seconds, utc_us
    from transport.topic_ranges import TimeRange

    if last is not None and (from_time is not None or to_time is not None):
        raise SettingsError("--last stands alone: give it, or --from and --to")
    begin = None if from_time is None else utc_us(from_time, "--from")
    if last is not None:
        begin = time.time_ns() // 1000 - round(seconds(last, "--last") * 1e6)
    end = None if to_time is None else utc_us(to_time, "--to")
    if begin is not None and end is not None and begin >= end:
        raise SettingsError("--from is not before --to")
    return TimeRange(begin, end)
