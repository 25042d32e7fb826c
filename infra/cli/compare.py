"""`inspection compare`: may the challenger take the champion's place?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.analysis_data import Run, TruthAttribute
from infra.cli.options import ImageStoreUri, Json, image_store_uri
from infra.cli.selection_options import Chosen, takes_selection

if TYPE_CHECKING:
    from replay.analysis.results import Comparison, Delta, PairedTable

_PANEL = "What is allowed"


@takes_selection
def compare(
    chosen: Chosen,
    run: Run = None,
    challenger: Annotated[
        str | None, typer.Option(help="A model package, or a variant of the run. Default: the run's last one.")
    ] = None,
    champion: Annotated[
        str | None,
        typer.Option(help="A model package, a variant, or `recorded`: what the line decided. Default: recorded."),
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            help="Images whose truth is certain: folders good/ and defective/ (or one for each defect), or a CSV file "
            "with file, truth, defect. The champion for these is the model that ships, unless it is named. Without a "
            "selection they decide alone."
        ),
    ] = None,
    max_escape_increase: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Of the escape rate, as a share: upper end of the interval.", rich_help_panel=_PANEL
        ),
    ] = 0.0,
    max_overkill_increase: Annotated[
        float, typer.Option(min=0, max=1, help="Of the overkill rate, likewise.", rich_help_panel=_PANEL)
    ] = 0.01,
    min_labels: Annotated[
        int, typer.Option(min=0, help="Labelled parts, good and defective each, that it takes.", rich_help_panel=_PANEL)
    ] = 30,
    max_golden_missed: Annotated[
        int,
        typer.Option(min=0, help="Defective golden samples that the challenger alone accepts.", rich_help_panel=_PANEL),
    ] = 0,
    max_golden_overkill: Annotated[
        int | None,
        typer.Option(min=0, help="Good ones that it alone rejects. Default: any number.", rich_help_panel=_PANEL),
    ] = None,
    truth_attribute: TruthAttribute = None,
    image_store: ImageStoreUri = None,
    as_json: Json = False,
) -> None:
    """Compare a challenger with the champion on the same parts, and say whether it may be promoted.

    Exit status: 0 promote, 1 do not (or an error), 2 wrong usage, 3 undecided: labels do not suffice to tell.

        inspection compare runs/tuesday --challenger new

        inspection compare --challenger models/cells-2 --golden golden/
    """
    import json

    from infra.cli.analysis_data import read_data
    from infra.cli.compare_models import RECORDED, on_golden, on_selection
    from replay.analysis import Limits
    from replay.analysis import as_json as json_form
    from replay.analysis import compare as compare_table
    from replay.analysis.comparison import compare_nothing

    limits = Limits(
        max_escape_increase=max_escape_increase,
        max_overkill_increase=max_overkill_increase,
        min_labels=min_labels,
        max_golden_missed=max_golden_missed,
        max_golden_overkill=max_golden_overkill,
    )
    samples = None if golden is None else on_golden(golden, run, champion, challenger)
    if run is not None:
        table = read_data(chosen, run, truth_attribute).table
        found = compare_table(table, champion or RECORDED, challenger, limits=limits, golden=samples)
    elif samples is not None and chosen.selection.is_everything:
        found = compare_nothing(champion or "champion", challenger or "challenger", samples, limits)
    else:
        found = on_selection(
            chosen, champion, challenger, truth_attribute=truth_attribute, image_store=image_store_uri(image_store),
            limits=limits, golden=samples,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({**json_form(found), "exit_code": found.gate.exit_code}, allow_nan=False))
    else:
        for line in _lines(found):
            typer.echo(line)
    raise typer.Exit(found.gate.exit_code)


def _lines(found: Comparison) -> list[str]:
    from infra.cli.text import shown

    lines = [f"champion {shown(found.champion)}, challenger {shown(found.challenger)}"]
    if found.parts or found.golden is None:
        same = "" if found.agreement is None else f", {found.agreement:.2%} treated alike"
        lines.append(f"{found.parts} parts inspected by both, {found.labelled} with a label{same}")
        lines += [
            f"  escape rate    {_delta(found.escape_rate)}{_test(found.escapes)}",
            f"  overkill rate  {_delta(found.overkill_rate)}{_test(found.overkill)}",
        ]
    lines += [f"! {shown(warning)}" for warning in found.warnings]
    if found.changed:
        lines.append(f"{found.changed_total} parts are treated otherwise, the gravest first")
    for one in found.changed[:10]:
        scores = ["none" if score is None else f"{score:.3f}" for score in (one.champion_score, one.challenger_score)]
        lines.append(
            f"  {shown(one.frame_id, 80)}: {one.champion_action} ({scores[0]}) to "
            f"{one.challenger_action} ({scores[1]}), {one.truth}"
        )
    if (golden := found.golden) is not None:
        lines.append(
            f"golden samples: {golden.defective} defective, {golden.good} good; champion {golden.champion_escapes} "
            f"escapes, {golden.champion_overkill} overkill; challenger {golden.challenger_escapes} and "
            f"{golden.challenger_overkill}"
        )
        lines += [
            f"  {shown(one.file, 120)} ({one.truth}): {one.champion_action} to {one.challenger_action}"
            for one in golden.changed[:10]
        ]
    lines.append(f"{found.gate.decision.upper()}")
    return [*lines, *(f"  {check.outcome}: {shown(check.sentence)}" for check in found.gate.checks)]


def _delta(found: Delta) -> str:
    from replay.analysis.gate import points

    if found.champion is None or found.challenger is None:
        return found.why_not
    low, high = points(found.low or 0.0), points(found.high or 0.0)
    return f"{found.champion:.2%} to {found.challenger:.2%}: {points(found.delta or 0.0)} ({low} to {high})"


def _test(found: PairedTable) -> str:
    if found.p is None:
        return ""
    return (
        f"; {found.tested_only_champion} errors only of the champion, {found.tested_only_challenger} only of the "
        f"challenger (McNemar p {found.p:.2g})"
    )
