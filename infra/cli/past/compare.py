"""`inspection compare`: decide if the challenger may replace the champion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.past.run_options import Run, TruthAttribute
from infra.cli.shared.options import ImageStoreUri, Json, Signatures, TrustFolder, TrustTopic, image_store_uri
from infra.cli.shared.selection_options import SelectionArgs, takes_selection
from infra.cli.shared.signature_options import with_signed_labels
from infra.cli.shared.terminal_text import echo, echo_json, echo_lines, shown
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from replay.analysis.comparison_results import Comparison, Delta, PairedTable
    from replay.dataset import Dataset

_PANEL = "What is allowed"


@takes_selection
def compare(
    chosen: SelectionArgs,
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
            min=0,
            max=1,
            help="Increase of the escape rate, as a share: upper end of the interval.",
            rich_help_panel=_PANEL,
        ),
    ] = 0.0,
    max_overkill_increase: Annotated[
        float, typer.Option(min=0, max=1, help="Increase of the overkill rate, likewise.", rich_help_panel=_PANEL)
    ] = 0.01,
    min_labels: Annotated[
        int,
        typer.Option(min=0, help="Labelled parts that are needed, good and defective each.", rich_help_panel=_PANEL),
    ] = 30,
    max_golden_missed: Annotated[
        int,
        typer.Option(min=0, help="Defective golden samples that the challenger alone accepts.", rich_help_panel=_PANEL),
    ] = 0,
    max_golden_overkill: Annotated[
        int | None,
        typer.Option(min=0, help="Good samples that it alone rejects. Default: any number.", rich_help_panel=_PANEL),
    ] = None,
    truth_attribute: TruthAttribute = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a report of the challenger to this file, with the parts that it treats otherwise."),
    ] = None,
    image_store: ImageStoreUri = None,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    as_json: Json = False,
) -> None:
    """Compare a challenger with the champion on the same parts, and say whether it may be promoted.

    Exit status: 0 promote, 1 do not (or an error), 2 wrong usage, 3 undecided: labels do not suffice to tell.

        inspection compare runs/tuesday --challenger new

        inspection compare --last 8h --challenger models/cells-2 --html compared.html

        inspection compare --challenger models/cells-2 --golden golden/
    """

    from contextlib import ExitStack

    from infra.cli.shared.progress import reading
    from replay.analysis import PromotionLimits, analyse
    from replay.analysis import as_json as json_form
    from replay.analysis import compare as compare_table
    from replay.analysis.comparison import compare_nothing
    from replay.challenger import inspected, model_of, on_golden
    from replay.dataset import read_data, with_warnings
    from replay.past.replayed_frame import RECORDED
    from replay.report.document import check_html
    from replay.report.write import write_html
    from transport.image_store import ImageStore

    limits = PromotionLimits(
        max_escape_increase=max_escape_increase,
        max_overkill_increase=max_overkill_increase,
        min_labels=min_labels,
        max_golden_missed=max_golden_missed,
        max_golden_overkill=max_golden_overkill,
    )
    is_golden_alone = golden is not None and run is None and chosen.selection.is_everything
    if html is not None:
        if is_golden_alone:
            raise SettingsError("--html shows recorded parts: name a run, or select frames")
        check_html(html)
    source = chosen.source
    if not is_golden_alone:
        source = with_signed_labels(source, trust, trust_topic, signatures)
    samples = None
    if golden is not None:
        with reading() as show:
            samples = on_golden(golden, run, champion, challenger, on_progress=show)

    def of(data: Dataset, folder: Path, one: str, other: str | None) -> Comparison:
        compared: Comparison = with_warnings(data, compare_table(data.table, one, other, limits=limits, golden=samples))
        if html is not None:
            analysis = analyse(data.table, compared.challenger, truth_attribute=truth_attribute, episodes=data.episodes)
            model = model_of(folder, compared.challenger)
            with reading() as show:
                write_html(
                    html, data, analysis, source, chosen.selection, folder, model,
                    ImageStore(image_store_uri(image_store)), comparison=compared, on_progress=show,
                )  # fmt: skip
        return compared

    if samples is not None and is_golden_alone:
        one = "champion" if champion in (None, RECORDED) else str(champion)
        found = compare_nothing(one, challenger or "challenger", samples, limits)
    elif run is not None:
        with reading() as show:
            data = read_data(
                source, chosen.selection, run, truth_attribute, with_episodes=html is not None,
                on_progress=show,
            )  # fmt: skip
        found = of(data, run, champion or RECORDED, challenger)
    else:
        with ExitStack() as stack:
            with reading() as show:
                data, folder = stack.enter_context(
                    inspected(
                        source,
                        chosen.selection,
                        champion,
                        challenger,
                        truth_attribute=truth_attribute,
                        image_store=ImageStore(image_store_uri(image_store)),
                        with_episodes=html is not None,
                        on_progress=show,
                    )
                )
            has_champion = "champion" in data.table.deciders
            found = of(data, folder, "champion" if has_champion else RECORDED, "challenger")
    if as_json:
        echo_json({**json_form(found), "exit_code": found.gate.exit_code})
    else:
        echo_lines(_lines(found))
        if html is not None:
            echo(f"written: {html}")
    raise typer.Exit(found.gate.exit_code)


def _lines(found: Comparison) -> list[str]:
    from infra.cli.past.analysis_text import plural

    lines = [f"champion {shown(found.champion)}, challenger {shown(found.challenger)}"]
    if found.parts or found.golden is None:
        same = "" if found.agreement is None else f", {found.agreement:.2%} treated alike"
        lines.append(f"{plural(found.parts, 'part')} inspected by both, {found.labelled} with a label{same}")
        lines += [
            f"  escape rate    {_delta(found.escape_rate)}{_test(found.escapes)}",
            f"  overkill rate  {_delta(found.overkill_rate)}{_test(found.overkill)}",
        ]
    lines += [f"! {shown(warning)}" for warning in found.warnings]
    if found.changed:
        parts = plural(found.changed_total, "part is", "parts are")
        lines.append(f"{parts} treated otherwise, the gravest first")
    for one in found.changed[:10]:
        scores = ["none" if score is None else f"{score:.3f}" for score in (one.champion_score, one.challenger_score)]
        lines.append(
            f"  {shown(one.frame_id, 80)}: {one.champion_action} ({scores[0]}) to "
            f"{one.challenger_action} ({scores[1]}), {one.truth}"
        )
    if (golden := found.golden) is not None:
        lines.append(
            f"golden samples: {golden.defective} defective, {golden.good} good; champion "
            f"{plural(golden.champion_escapes, 'escape')}, {golden.champion_overkill} overkill; challenger "
            f"{golden.challenger_escapes} and {golden.challenger_overkill}"
        )
        lines += [
            f"  {shown(one.file, 120)} ({one.truth}): {one.champion_action} to {one.challenger_action}"
            for one in golden.changed[:10]
        ]
    lines.append(f"{found.gate.decision.upper()}")
    return [*lines, *(f"  {check.outcome}: {shown(check.sentence)}" for check in found.gate.checks)]


def _delta(found: Delta) -> str:
    from replay.analysis.promotion import points

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
