"""Second part of `inspection replay`: it publishes frames again, see `replay.republish`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import InspectionError

if TYPE_CHECKING:
    from infra.cli.shared.selection_options import SelectionArgs

_DAY_MS = 24 * 3_600_000


class NotPublished(InspectionError):
    """Error: the broker has refused frames."""


def republish(chosen: SelectionArgs, topic: str, speed: str, *, as_json: bool) -> None:
    """Publish the selected frames to a topic of a simulated line; create its missing topics."""
    import dataclasses

    from infra.cli.shared.audited import audited
    from infra.cli.shared.progress import reading
    from infra.cli.shared.shutdown import StopRequest, stop_on_signals
    from operations.trail.record import Act, Deed
    from replay.past.reads import empty_selection_error
    from replay.past.resolved_selection import ResolvedSelection
    from replay.republish import by_partition, prefix_of, speed_of
    from replay.republish import republish as publish
    from schemas.topics import TOPICS
    from transport.topic_setup import apply

    kafka = chosen.source.kafka
    prefix, factor = prefix_of(topic, kafka), speed_of(speed)
    stop = StopRequest()
    with reading() as progress, ResolvedSelection(chosen.source, chosen.selection, on_progress=progress) as resolved:
        if resolved.frames_total == 0:
            raise empty_selection_error(chosen.source)
        # Simulated messages are kept for a day, whatever the retention of the line.
        table = [
            dataclasses.replace(each, retention_ms=_DAY_MS) if each.cleanup == "delete" else each for each in TOPICS
        ]
        created = apply(dataclasses.replace(kafka, prefix=prefix), table).created
        deed = Deed(Act.REPLAY_TO_TOPIC, topic, after=f"{resolved.frames_total} frames of {kafka.frames}, {speed}")
        with audited(kafka, deed, writes=topic), stop_on_signals(stop):
            done = publish(
                by_partition(resolved, stop),
                kafka,
                topic,
                speed=factor,
                stop=stop,
                on_published=lambda count: progress("published", count, resolved.frames_total),
            )
    if done.is_finished and not done.published and not done.failed:
        raise empty_selection_error(chosen.source)
    options = f"--bootstrap-servers {kafka.bootstrap_servers} --prefix {prefix}"
    commands = [f"inspection {what} {options}" for what in ("worker", "watch --simulated", "actuate --simulated")]
    if as_json:
        values: dict[str, Any] = {**dataclasses.asdict(done), "topic": topic, "created": created, "commands": commands}
        echo_json(values)
    else:
        echo(f"{done.published} frames published again to {topic}, marked as replay {done.run_id}")
        for camera, count in sorted(done.cameras.items()):
            echo(f"  {shown(camera) or 'no frames'}: {count}")
        if done.late_ms > 100 or done.unordered:
            echo(f"  up to {done.late_ms:.0f} ms behind their time; {done.unordered} out of order")
        echo("the simulated line (start it before to see the timing; decisions are marked, no live gate takes them):")
        for command in commands:
            echo(f"  {command}")
    if not done.is_finished:
        raise typer.Exit(stop.status)
    if done.failed:
        raise NotPublished(
            f"{topic} has refused {done.failed} of {done.published + done.failed} frames: {done.refusal}; "
            f"`inspection topics diff {options}` shows the settings of the topic that differ"
        )
