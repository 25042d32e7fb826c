"""`inspection review`: list the frames that are most worth a label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    ArchiveOnly,
    ArchiveUri,
    BootstrapServers,
    Json,
    Prefix,
    Signatures,
    TrustFolder,
    TrustTopic,
    kafka_settings,
    past_source,
)
from infra.cli.shared.signature_options import echo_unsigned_labels, with_signed_labels
from infra.cli.shared.terminal_text import echo, echo_json, echo_lines, shown
from infra.cli.shared.time_options import CameraOption, FromOption, LastOption, ToOption
from schemas.errors import SettingsError
from schemas.moments import time_text

if TYPE_CHECKING:
    from operations.quality_report import Candidate


def review(
    from_time: FromOption = None,
    to_time: ToOption = None,
    last: LastOption = None,
    camera: CameraOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most frames to list.")] = 50,
    random_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of all frames that is chosen blindly.")
    ] = 0.01,
    band: Annotated[float, typer.Option(min=0, max=1, help="Distance from the threshold that counts as near.")] = 0.05,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: fill in truth and defect, then `inspection label --csv`.")
    ] = False,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """List frames without a label that are most worth one: chosen blindly, near the threshold, unsure, in an episode.

    The blindly chosen frames come first: escapes can be estimated only from them. Label all of them: if you choose
    among them, they are no longer a random sample.

        inspection review --last 8h --limit 100 --csv > look.csv
    """

    from infra.cli.shared.progress import reading
    from infra.cli.shared.time_options import time_range
    from operations.quality_report import find_candidates

    if as_csv and as_json:
        raise SettingsError("--csv and --json: one of them")
    within = time_range(from_time, to_time, last)
    source = past_source(kafka_settings(bootstrap_servers, prefix), archive, archive_only)
    source = with_signed_labels(source, trust, trust_topic, signatures)
    with reading() as show:
        found = find_candidates(
            source, within, camera=camera, limit=limit,
            random_share=random_share, band=band, on_progress=show,
        )  # fmt: skip
    echo_unsigned_labels(source)
    rows = [_row(candidate) for candidate in found]
    if as_csv:
        _print_csv(rows)
    elif as_json:
        echo_json({"frames": rows})
    else:
        for row in rows:
            score = "" if row["score"] is None else f", score {row['score']:.3f} of {row['threshold']}"
            echo(f"{row['priority']:.2f}  {row['sampled_because']:<14}  {row['frame_id']}  {row['action']}{score}")
        if not rows:
            echo("nothing there that is worth a label, or all of it has one")


def _row(candidate: Candidate) -> dict[str, Any]:
    decision = candidate.decision
    return {
        "frame_id": decision.frame_id,
        "part_id": decision.part_id,
        "station": decision.station,
        "camera_id": decision.camera_id,
        "sampled_because": candidate.reason,
        "priority": round(candidate.priority, 4),
        "action": decision.action.value,
        "score": decision.score,
        "threshold": decision.threshold,
        "lot": decision.lot,
        "captured_at": time_text(decision.captured_at_us, "milliseconds"),
    }


def _print_csv(rows: list[dict[str, Any]]) -> None:
    import csv
    import io

    from monitoring.quality.label_sheet import COLUMNS, SHOWN
    from transport.csv_guard import WRITER, guarded

    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *SHOWN], restval="", lineterminator="\n", **WRITER)
    writer.writeheader()
    # A spreadsheet must not execute the name of a camera as a formula.
    writer.writerows(
        {name: guarded(shown(v, None)) if isinstance(v, str) else v for name, v in row.items()} for row in rows
    )
    echo_lines(text.getvalue().splitlines())
