"""Options that select frames of the past, for all commands that work on a stretch of it.

`takes_selection` adds all of these options to a command; the command gets one `SelectionArgs`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.choices import TimeBasisChoice, choice
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    WHERE,
    ArchiveOnly,
    ArchiveUri,
    BootstrapServers,
    Prefix,
    kafka_settings,
    past_source,
)
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from replay.past.selection import Selection
    from replay.past.source import Source

_PANEL = "Which frames"


def _chosen(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_PANEL, **more)


SelectionFromOption = Annotated[
    str | None, _chosen("Frames since, as 2026-11-24T06:00 (local time) or ...Z (UTC).", "--from")
]
SelectionToOption = Annotated[str | None, _chosen("Frames before.", "--to")]
SelectionLastOption = Annotated[
    str | None, _chosen("Last duration (90s, 15m, 8h, 2d) or last number of frames (500).", "--last")
]
ByTime = Annotated[
    TimeBasisChoice,
    choice(
        "Clock of --from, --to and --last 8h: when frames reached Kafka, or were captured.",
        "--time",
        rich_help_panel=_PANEL,
    ),
]
LateBy = Annotated[
    str | None,
    _chosen(
        "Frames are out of order by this time at most, as 15m: reading ends there. Default: read to the end, because "
        "frames from a spool may lie anywhere behind.",
        "--late-by",
    ),
]
OffsetsOption = Annotated[
    list[str] | None, _chosen("PARTITION:BEGIN-END of the frames topic, END not included.", "--offsets")
]
Cameras = Annotated[list[str] | None, _chosen("station/camera. Repeat it for more, as the next ones.", "--camera")]
Lots = Annotated[list[str] | None, _chosen("Lot.", "--lot")]
Parts = Annotated[list[str] | None, _chosen("Part id.", "--part")]
Frames = Annotated[list[str] | None, _chosen("Frame id.", "--frame")]
DecidedAsOption = Annotated[
    list[str] | None,
    _chosen("Verdict or action of the decision: OK, NOT_OK, NOT_DECIDABLE, ACCEPT, REJECT or REVIEW.", "--verdict"),
]
EpisodeOption = Annotated[str | None, _chosen("Drift episode: its camera, from its begin to its end.", "--episode")]
SelectionFile = Annotated[
    Path | None, _chosen("A selection from --save-selection, instead of all these.", "--selection")
]
SaveSelection = Annotated[Path | None, _chosen("Write the selection to a file, to use it again.", "--save-selection")]
MaxMib = Annotated[
    float | None,
    typer.Option(
        "--max-mib-s",
        min=0.01,
        help="Read at most this many MiB a second from the topics, to leave the broker to the line.",
        rich_help_panel=WHERE,
    ),
]


@dataclass(frozen=True, slots=True)
class SelectionArgs:
    """Selected frames, and the source to read them from."""

    selection: Selection
    source: Source


def _options(
    from_time: SelectionFromOption = None,
    to_time: SelectionToOption = None,
    last: SelectionLastOption = None,
    time: ByTime = "kafka",
    late_by: LateBy = None,
    offsets: OffsetsOption = None,
    camera: Cameras = None,
    lot: Lots = None,
    part: Parts = None,
    frame: Frames = None,
    verdict: DecidedAsOption = None,
    episode: EpisodeOption = None,
    selection_file: SelectionFile = None,
    save_selection: SaveSelection = None,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    max_mib_s: MaxMib = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
) -> SelectionArgs:
    """Return the selection and the source that the options name."""
    from replay.past.selection import Selection, TimeBasis

    if selection_file is not None:
        given = (from_time, to_time, last, late_by, offsets, camera, lot, part, frame, verdict, episode)
        if any(value is not None for value in given):
            raise SettingsError("--selection stands alone: what is selected is in the file")
        selection = Selection.load(selection_file)
    else:
        begin_us, end_us, count = _times(from_time, to_time, last)
        selection = Selection(
            from_us=begin_us,
            to_us=end_us,
            time_basis=TimeBasis(time),
            late_by_us=None if late_by is None else _us(late_by, "--late-by"),
            offsets=_offsets(offsets or []),
            last=count,
            cameras=tuple(camera or ()),
            frames=tuple(frame or ()),
            parts=tuple(part or ()),
            lots=tuple(lot or ()),
            decided_as=tuple(word.upper().replace("-", "_") for word in verdict or ()),
            episode=episode,
        )
    if save_selection is not None:
        selection.save(save_selection)
    source = past_source(
        kafka_settings(bootstrap_servers, prefix),
        archive,
        archive_only,
        max_bytes_s=None if max_mib_s is None else max_mib_s * 1024 * 1024,
    )
    return SelectionArgs(selection, source)


def takes_selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a selection to a command; the command gets them as its first parameter, a `SelectionArgs`.

    The other parameters of the command stay as they are, and come first in the help.
    """
    own = inspect.signature(command)
    hints = typing.get_type_hints(command, include_extras=True, localns={"Chosen": SelectionArgs})
    first, *rest = (parameter.replace(annotation=hints[name]) for name, parameter in own.parameters.items())
    shared = inspect.signature(_options)
    shared_hints = typing.get_type_hints(_options, include_extras=True, localns={"Chosen": SelectionArgs})
    added = [parameter.replace(annotation=shared_hints[name]) for name, parameter in shared.parameters.items()]
    names = {parameter.name for parameter in added}

    @wraps(command)
    def wrapped(**values: Any) -> Any:
        chosen = _options(**{name: value for name, value in values.items() if name in names})
        return command(chosen, **{name: value for name, value in values.items() if name not in names})

    everything = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*rest, *added)]
    wrapped.__signature__ = own.replace(parameters=everything)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
    del wrapped.__wrapped__  # typer would read the options of the command itself
    assert first.name == "chosen", "a command that takes a selection begins with it"
    return wrapped


def _times(from_time: str | None, to_time: str | None, last: str | None) -> tuple[int | None, int | None, int | None]:
    """Return begin and end (UTC microseconds), and number of frames; None for each that the options do not name.

    Examples
    --------
    >>> _times(None, None, "500")
    (None, None, 500)
    """
    import time

    from infra.cli.shared.times import frames_or_seconds, utc_us

    begin_us = None if from_time is None else utc_us(from_time, "--from")
    end_us = None if to_time is None else utc_us(to_time, "--to")
    if last is None:
        return begin_us, end_us, None
    count, duration_s = frames_or_seconds(last, "--last")
    if last.strip().isdecimal():
        return begin_us, end_us, count
    if begin_us is not None or end_us is not None:
        raise SettingsError("--last 8h stands alone: give it, or --from and --to")
    return time.time_ns() // 1000 - round(duration_s * 1e6), None, None


def _us(text: str, option: str) -> int:
    from infra.cli.shared.times import seconds

    return round(seconds(text, option) * 1e6)


def _offsets(texts: list[str]) -> dict[int, tuple[int, int]]:
    """Return begin and end offset by partition.

    Examples
    --------
    >>> _offsets(["0:17-20", "3:5-5"])
    {0: (17, 20), 3: (5, 5)}
    """
    found: dict[int, tuple[int, int]] = {}
    for text in texts:
        partition, colon, bounds = text.partition(":")
        begin, dash, end = bounds.partition("-")
        numbers = (partition, begin, end)
        if not (colon and dash and all(number.isdecimal() and len(number) < 19 for number in numbers)):
            raise SettingsError(f"--offsets {text!r}: as in 0:1200-1500, partition, begin and end")
        if int(partition) in found:
            raise SettingsError(f"--offsets {text!r}: partition {partition} is there twice")
        found[int(partition)] = (int(begin), int(end))
    return found
