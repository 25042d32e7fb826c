"""`inspection analyse`: find out how right the decisions were, where they were wrong, and a better threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.past.run_options import Run, TruthAttribute
from infra.cli.shared.options import ImageStoreUri, Json, Signatures, TrustFolder, TrustTopic, image_store_uri
from infra.cli.shared.selection_options import SelectionArgs, takes_selection
from infra.cli.shared.signature_options import with_signed_labels
from infra.cli.shared.terminal_text import echo, echo_json, echo_lines


@takes_selection
def analyse(
    chosen: SelectionArgs,
    run: Run = None,
    decider: Annotated[
        str | None,
        typer.Option(help="`recorded`, or a variant of the run. Default: the run's first one, else recorded."),
    ] = None,
    cost_ratio: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="Overkills that one escape costs: for the recommended threshold.")
    ] = 20.0,
    truth_attribute: TruthAttribute = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a report with plots and images to this file; it opens offline.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model package for the heat maps of --html. Default: the one that ships, if it decided."),
    ] = None,
    image_store: ImageStoreUri = None,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    rows: Annotated[
        Path | None, typer.Option(help="Write every row to this file, .parquet, .csv or .jsonl, for a notebook.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find out how right the decisions of a stretch were: errors, thresholds, slices, latency, drift, duplicates.

    Labels tell which decisions were right. If too few parts have labels, or only rejected ones, the output says so.

        inspection analyse --last 8h --cost-ratio 50 --html report.html

        inspection analyse --from 2026-11-24T06:00 --to 2026-11-24T14:00 --camera press/top --json
    """
    from dataclasses import asdict

    from infra.cli.past.analysis_text import analysis_lines, plural
    from infra.cli.shared.progress import reading
    from replay.analysis import analyse as analyse_table
    from replay.analysis import as_json as json_form
    from replay.dataset import read_data, with_warnings
    from replay.export.write import check_file, write_rows
    from replay.past.replayed_frame import RECORDED
    from replay.report.document import check_html
    from replay.report.write import heat_model, write_html
    from transport.image_store import ImageStore

    if rows is not None:
        check_file(rows)
    if html is not None:
        check_html(html)
    source = with_signed_labels(chosen.source, trust, trust_topic, signatures)
    with reading() as show:
        data = read_data(source, chosen.selection, run, truth_attribute, with_episodes=True, on_progress=show)
    name = decider or (data.table.deciders[1] if len(data.table.deciders) > 1 else RECORDED)
    found = analyse_table(
        data.table, name, cost_ratio=cost_ratio, truth_attribute=truth_attribute, episodes=data.episodes
    )
    found = with_warnings(data, found)
    if rows is not None:
        write_rows(rows, data.table)
    if html is not None:
        store = ImageStore(image_store_uri(image_store))
        with reading() as show:
            write_html(
                html, data, found, source, chosen.selection, run, heat_model(model, found), store,
                on_progress=show,
            )  # fmt: skip
    if as_json:
        labels = {**asdict(data.truths.counts), "waiting": data.truths.waiting}
        echo_json({**json_form(found), "labels": labels})
        return
    echo_lines(analysis_lines(found))
    if data.truths.waiting:
        echo(f"{plural(data.truths.waiting, 'label is', 'labels are')} about parts of another time, or of none")
    for path in (path for path in (html, rows) if path is not None):
        echo(f"written: {path}")
