"""`inspection label`: publish the true class of parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.shared.audited import audited
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    Json,
    Prefix,
    as_text,
    kafka_settings,
    user_name,
)
from infra.cli.shared.terminal_text import echo, echo_json
from schemas.errors import InspectionError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.records import Label

_SHOWN_ERRORS = 20


def label(
    frame_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FRAME_ID]...",
            callback=as_text,
            help="Frame id, as in decisions and `inspection review`.",
        ),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="True class: good or defective.",
        ),
    ] = None,
    defect: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Class of the defect, such as crack.",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            callback=as_text, help="A part by its id, instead of frames; with --camera. Every frame of it counts."
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Camera as station/camera; for a frame only if its id does not name it.",
        ),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Labels from a file with the columns frame_id, part_id, station, camera_id, truth, defect, "
            "labelled_at, labelled_by, sampled_because, note. Rows without a truth are passed over.",
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Publish the good rows of a file with bad ones.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            callback=as_text,
            help="Person or device that knows it. Default: the user's name.",
        ),
    ] = None,
    because: Annotated[
        str,
        typer.Option(
            callback=as_text, help="Reason for checking this part: random, reject, review, near-threshold, episode ..."
        ),
    ] = "",
    note: Annotated[
        str,
        typer.Option(
            callback=as_text,
            help="Anything worth keeping.",
        ),
    ] = "",
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Publish the true class of a part: `inspection quality` then tells how right decisions are.

    A later label of a frame or part replaces an earlier one. A label may come before the decision.

    Use --because random only for parts that were chosen blindly: escapes are estimated from these parts only.

    If a row of a file is wrong, nothing of the file is published. A file that is published twice counts once.

        inspection label press.top.60a24181e4000.00000012 --truth defective --defect crack --because random
        inspection label --part P-77 --camera press/top --truth good
        inspection review --last 8h --csv > look.csv      # fill in truth, then
        inspection label --csv look.csv
    """

    from hashlib import sha256

    from operations.labels.csv_file import labels_from_csv
    from operations.labels.publish import publish_labels
    from operations.trail.record import Act, Deed
    from schemas.part_ids import real_part_id

    ways = [way for way, given in (("FRAME_ID", frame_ids), ("--part", part), ("--csv", csv_file)) if given]
    if len(ways) != 1:
        raise SettingsError(
            "nothing to label: name frames, or --part and --camera, or --csv FILE"
            if not ways
            else f"{' and '.join(ways)}: one way at a time"
        )
    bad: list[str] = []
    bad_rows = blank_rows = 0
    if csv_file is not None:
        if truth or defect or note or camera:
            raise SettingsError("--csv: truth, defect, note and camera are in the file")
        bad, bad_rows, blank_rows = _check(csv_file)
        for line in bad:
            echo(line, err=True)
        if bad and not skip_bad:
            raise SettingsError(f"{csv_file}: {bad_rows} bad rows, nothing published; --skip-bad leaves them out")
    by = by or user_name("--by")
    if csv_file is not None:
        labels = labels_from_csv(csv_file, labelled_by=by, sampled_because=because, on_bad=lambda error: None)
        about = f"{csv_file} with SHA-256 {sha256(csv_file.read_bytes()).hexdigest()}"
    else:
        labels = _named(frame_ids or [], part, camera, truth, defect, by, because, note)
        about = f"part {real_part_id(part)} of {camera}" if part else ", ".join(frame_ids or [])
    kafka = kafka_settings(bootstrap_servers, prefix)
    after = " ".join(filter(None, (truth, defect)))
    with audited(kafka, Deed(Act.LABEL, about, after=after, stated_by=by, note=note), writes=kafka.labels):
        count = publish_labels(kafka, labels)
    if as_json:
        echo_json({"published": count, "bad_rows": bad_rows, "bad": bad, "without_truth": blank_rows})
        return
    rows = {"bad rows": bad_rows, "rows without a truth": blank_rows}
    left_out = [f"{number} {what}" for what, number in rows.items() if number]
    echo(f"{count} labels published" + (f", {' and '.join(left_out)} left out" if left_out else ""))


def _check(csv_file: Path) -> tuple[list[str], int, int]:
    """Return the first errors of a file, the number of bad rows, and the number of rows without a truth."""
    from operations.labels.csv_file import labels_from_csv

    errors: list[str] = []
    bad = blank = 0

    def on_bad(error: InspectionError) -> None:
        nonlocal bad
        bad += 1
        if bad <= _SHOWN_ERRORS:
            errors.append(str(error))

    def on_blank() -> None:
        nonlocal blank
        blank += 1

    for _ in labels_from_csv(csv_file, labelled_by="checked", on_bad=on_bad, on_blank=on_blank):
        pass
    return errors, bad, blank


def _named(
    frame_ids: list[str],
    part: str | None,
    camera: str | None,
    truth: str | None,
    defect: str | None,
    by: str,
    because: str,
    note: str,
) -> Iterator[Label]:
    import time

    from operations.labels.make import make_label

    if truth is None:
        raise SettingsError("--truth: good or defective")
    station, _, camera_id = (camera or "").partition("/")
    if camera is not None and not (station and camera_id):
        raise SettingsError(f"--camera {camera!r}: as station/camera")
    if part is not None and camera is None:
        raise SettingsError("--part: name the camera too, as --camera station/camera")
    now_us = time.time_ns() // 1000
    made = [
        make_label(
            truth,
            frame_id=frame_id,
            part_id=part,
            station=station or None,
            camera_id=camera_id or None,
            defect=defect,
            labelled_at_us=now_us,
            labelled_by=by,
            sampled_because=because,
            note=note,
        )
        for frame_id in (frame_ids or [None])  # type: ignore[list-item]
    ]
    return iter(made)
