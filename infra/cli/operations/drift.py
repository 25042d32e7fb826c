"""`inspection drift`: list, show and acknowledge episodes of drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.audited import audited
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    ArchiveOnly,
    ArchiveUri,
    BootstrapServers,
    Json,
    Prefix,
    as_text,
    kafka_settings,
    past_source,
    user_name,
)
from infra.cli.shared.terminal_text import echo, echo_json, echo_lines

if TYPE_CHECKING:
    from monitoring.drift.episodes import Episode
    from operations.episodes import Episodes
    from replay.past.source import Source

app = typer.Typer(no_args_is_help=True, help="Episodes of drift: list them, show one, acknowledge one.")

EpisodeId = Annotated[
    str, typer.Argument(metavar="EPISODE", help="Id of the episode, as `list` shows it, or its beginning.")
]
Simulated = Annotated[bool, typer.Option("--simulated", help="Episodes of replays instead of the line's.")]


@app.command(name="list")
def list_episodes(
    only_open: Annotated[bool, typer.Option("--open", help="Only open episodes.")] = False,
    camera: Annotated[str | None, typer.Option(help="Only of this camera: station/camera, or camera.")] = None,
    last: Annotated[
        str | None, typer.Option(help="Only open episodes, and those with an event in the last 90s, 8h, 2d.")
    ] = None,
    simulated: Simulated = False,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """List episodes, one line each, open ones first: id, time of detection, state, camera, type, kind, reason.

    inspection drift list --open
    """
    import time

    from infra.cli.operations.drift_text import episode_row, line_of
    from infra.cli.shared.times import seconds

    begin_us = None if last is None else time.time_ns() // 1000 - round(seconds(last, "--last") * 1e6)
    read = _read(past_source(kafka_settings(bootstrap_servers, prefix), archive, archive_only), simulated)
    wanted = [
        episode
        for episode in read.episodes
        if (episode.is_open or not only_open)
        and camera in (None, episode.facts.key, episode.facts.camera_id)
        and (begin_us is None or episode.is_open or episode.newest_event_at_us >= begin_us)
    ]
    if as_json:
        rows = [episode_row(episode) for episode in wanted]
        echo_json({"episodes": rows, "unreadable": read.unreadable})
        return
    for episode in wanted:
        echo(line_of(episode))
    if not wanted:
        echo("no episodes" + (" of that kind or time" if only_open or camera or last else ""))


@app.command()
def show(
    episode_id: EpisodeId,
    simulated: Simulated = False,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show everything about an episode: signals before and after, example frames, history."""

    from infra.cli.operations.drift_text import episode_row, history_rows, lines_of

    source = past_source(kafka_settings(bootstrap_servers, prefix), archive, archive_only)
    found = _find(source, episode_id, simulated)
    if as_json:
        echo_json({**episode_row(found), "history": history_rows(found)})
    else:
        echo_lines(lines_of(found))


@app.command()
def ack(
    episode_id: EpisodeId,
    note: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="Your finding and action; kept with the episode.",
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Person who acknowledges it. Default: your user name.",
        ),
    ] = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Acknowledge an episode. Gates no longer divert parts or stop the line because of it.

    This ends neither the episode nor a FAULT that a gate is already in: `inspection gate reset` ends a FAULT.

        inspection drift ack 3fa9 --note "lamp ageing, new one ordered; threshold checked on 50 parts"
    """
    from infra.cli.operations.drift_text import episode_row, one_line
    from operations.episodes import acknowledge
    from operations.trail.record import Act, Deed

    kafka = kafka_settings(bootstrap_servers, prefix)
    found = _find(past_source(kafka, archive=None), episode_id, simulated=False)
    by = user_name("--by") if by is None else by
    about = f"episode {found.episode_id} of {found.facts.key}"
    deed = Deed(Act.DRIFT_ACKNOWLEDGE, about, found.facts.state.value, "ACKNOWLEDGED", by, note)
    with audited(kafka, deed, writes=kafka.drift):
        acknowledgement = acknowledge(kafka, found, by, note)
    if as_json:
        row = {**episode_row(found), "acknowledged_by": acknowledgement.acknowledged_by, "note": acknowledgement.note}
        echo_json(row)
        return
    state = "which goes on" if found.is_open else "which was over"
    by, note = acknowledgement.acknowledged_by, one_line(acknowledgement.note)
    echo(f"episode {found.episode_id}, {state}: acknowledged by {by}: {note}")


def _read(source: Source, simulated: bool) -> Episodes:
    """Read the whole topic: an acknowledgement may be much older than the last event of its episode."""
    import dataclasses

    from operations.episodes import read_episodes

    read = read_episodes(source)
    if read.unreadable:
        echo(f"{read.unreadable} messages of {source.kafka.drift} are no drift events", err=True)
    chosen = tuple(episode for episode in read.episodes if episode.facts.is_simulated == simulated)
    return dataclasses.replace(read, episodes=chosen)


def _find(source: Source, episode_id: str, simulated: bool) -> Episode:
    from monitoring.drift.episodes import find_episode

    return find_episode(_read(source, simulated).episodes, episode_id)
