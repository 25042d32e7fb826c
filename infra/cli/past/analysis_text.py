"""Text of an analysis, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra.cli.shared.terminal_text import shown
from schemas.moments import time_text

if TYPE_CHECKING:
    from monitoring.quality.estimates import Estimate
    from replay.analysis.results import Analysis, LatencyOf
    from replay.analysis.slice_results import Slice, SliceTest
    from replay.analysis.threshold_results import Recommendation

_SLICES, _EPISODES = 5, 5


def analysis_lines(found: Analysis) -> Iterator[str]:
    """Yield the most important results of an analysis, in some 30 lines."""
    yield from _extent(found)
    for warning in found.warnings:
        yield f"! {shown(warning)}"
    if found.extent.inspected:
        yield from _right(found)
        yield from _threshold(found.recommendation)
        yield from _slices(found)
    yield from _time(found)
    yield from _again(found)
    yield from _next(found)


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun or verb in singular or plural.

    Examples
    --------
    >>> plural(1, "part"), plural(0, "part"), plural(2, "was", "were")
    ('1 part', '0 parts', '2 were')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def rate_text(estimate: Estimate) -> str:
    """Return a rate with its interval as text, or the reason why there is no rate."""
    if estimate.value is None:
        return estimate.why_not
    labels = plural(estimate.labels, "label")
    return f"{estimate.value:.2%} ({estimate.low:.2%} to {estimate.high:.2%}), {labels}"


def _extent(found: Analysis) -> Iterator[str]:
    extent = found.extent
    cameras = [shown(camera, 60) for camera in extent.cameras[:3]]
    more = f" and {len(extent.cameras) - 3} more" if len(extent.cameras) > 3 else ""
    yield (
        f"{plural(extent.frames, 'frame')} of {', '.join(cameras)}{more}, "
        f"{time_text(extent.from_us)} to {time_text(extent.to_us)}"
    )
    by = ", ".join(shown(model, 80) for model in extent.models[:3]) or "nobody"
    yield f"  {extent.inspected} inspected by {by}" + (
        "" if found.decider == "recorded" else f" ({shown(found.decider)})"
    )
    missing = [
        f"{count} {what}"
        for count, what in (
            (extent.aborted, "shed or too late"), (extent.failed, "failed"), (extent.undecided, "without a decision"),
        )
        if count
    ]  # fmt: skip
    if missing:
        yield f"  not inspected: {', '.join(missing)}"
    yield (
        f"  {plural(extent.labelled, 'has', 'have')} a label, {extent.labelled_defective} of them defective; "
        f"{plural(extent.random_accepted, 'accepted part was', 'accepted parts were')} drawn at random"
    )


def _right(found: Analysis) -> Iterator[str]:
    rates = found.rates
    yield "how right"
    yield f"  escape rate    {rate_text(rates.escape_rate)}"
    yield f"  overkill rate  {rate_text(rates.overkill_rate)}"
    yield f"  accuracy       {rate_text(rates.accuracy)}"
    yield f"  {'parts':<10}{'all':>10}{'good':>10}{'defective':>11}{'unlabelled':>12}"
    for row in found.confusion.rows:
        if row.parts:
            yield f"  {row.action:<10}{row.parts:>10}{row.good:>10}{row.defective:>11}{row.unlabelled:>12}"


def _threshold(found: Recommendation) -> Iterator[str]:
    yield f"threshold, if an escape costs {found.cost_ratio:g} overkills"
    if found.threshold is None or found.present_escape_rate is None or found.present_overkill_rate is None:
        yield f"  {found.why_not}"
        return
    now = "each part's own" if found.present_threshold is None else f"{found.present_threshold:g}"
    of_score = " (of the score alone, without review)" if found.ignores_review else ""
    yield f"  now {now}{of_score}: {found.present_escape_rate:.2%} escapes, {found.present_overkill_rate:.2%} overkill"
    low, high = f"{found.low or 0:.3g}", f"{found.high or 0:.3g}"
    if not found.is_change:
        yield f"  none is cheaper on these labels; the best one lies between {low} and {high}"
    else:
        best = "best" if found.is_supported else "cheapest on these labels"
        yield (
            f"  {best} {found.threshold:g} ({low} to {high}): {found.escape_rate:.2%} escapes, "
            f"{found.overkill_rate:.2%} overkill"
        )
        saving, least, most = (value or 0.0 for value in (found.saving_per_1000, found.saving_low, found.saving_high))
        if least > 0:
            yield f"  saves what {saving:.1f} overkills cost in 1,000 parts ({least:.1f} to {most:.1f})"
        else:
            yield f"  it may save nothing: what {least:.1f} to {most:.1f} overkills cost in 1,000 parts"
    for moved in found.moved:
        yield (
            f"  on this stretch {plural(moved.parts, 'part')}: {moved.was} to {moved.becomes}; of those with a label "
            f"{moved.good} good, {moved.defective} defective"
        )
    for warning in found.warnings:
        yield f"  ! {warning}"


def _slices(found: Analysis) -> Iterator[str]:
    slices = found.slices
    if not slices.tests:
        yield f"slices: nothing to compare, {slices.looked_at} looked at"
        return
    worse = [one for one in slices.slices if one.is_significant]
    are = "is" if len(worse) == 1 else "are"
    yield f"slices: {len(worse)} of {slices.looked_at} {are} worse than the rest (q up to 0.05)"
    for one in worse[:_SLICES]:
        yield f"  {slice_text(one)}"
    if len(worse) > _SLICES:
        yield f"  and {len(worse) - _SLICES} more"
    if slices.truth_like:
        names = ", ".join(shown(name, 60) for name in slices.truth_like)
        yield f"  not divided by {names}: {'it says' if len(slices.truth_like) == 1 else 'they say'} the truth"


def slice_text(one: Slice) -> str:
    """Return one line with the worse error rate of a slice."""
    test: SliceTest | None = one.escape if one.worse_in == "escape" else one.overkill_test
    name = f"{shown(one.by, 60)} {shown(one.name, 80)}"
    if test is None:
        return f"{name}: {one.parts} parts, nothing to compare"
    what, of = ("escapes", "defective") if one.worse_in == "escape" else ("overkill", "good")
    return (
        f"{name}: {test.errors} {what} of {test.labels} labelled {of} parts, elsewhere {test.rest_errors} of "
        f"{test.rest_labels} (p {test.p:.2g}, q {test.q:.2g})"
    )


def _time(found: Analysis) -> Iterator[str]:
    yield "latency"
    of = found.latency.all
    yield f"  {_latency(of)}"
    if len(found.latency.by_camera) > 1:
        worst = max(found.latency.by_camera, key=lambda one: (one.missed, one.total.p99_ms or 0.0))
        yield f"  worst: {shown(worst.camera, 60)}: {_latency(worst)}"
    episodes = () if found.time_line is None else found.time_line.episodes
    if episodes:
        yield f"drift: {plural(len(episodes), 'episode')} in this time"
    for mark in episodes[:_EPISODES]:
        end = "still open" if mark.end_us is None else time_text(mark.end_us)
        what = mark.cause or mark.reason
        yield (
            f"  {shown(mark.episode_id, 40)} {shown(mark.camera, 60)}, {time_text(mark.begin_us)} to {end}: "
            f"{shown(what, 100)}; {plural(mark.parts, 'part')}, {plural(mark.escapes, 'escape')}, {mark.overkill} "
            "overkill known"
        )


def _latency(of: LatencyOf) -> str:
    total = of.total
    if total.p50_ms is None or total.p95_ms is None or total.p99_ms is None:
        return "no recorded decision"
    deadlines = f"{of.missed} of {of.with_deadline} deadlines missed" if of.with_deadline else "no deadlines"
    return (
        f"capture to decision p50 {total.p50_ms:.1f} ms, p95 {total.p95_ms:.1f} ms, p99 {total.p99_ms:.1f} ms; "
        f"{deadlines} ({of.late} late, {of.shed} shed)"
    )


def _again(found: Analysis) -> Iterator[str]:
    same = found.duplicates
    counts = (
        (same.parts_seen_again, f"parts in several frames, {same.contradictory_parts} of them judged both ways"),
        (
            same.images_seen_again,
            f"images under several frame ids, {same.contradictory_images} of them judged both ways",
        ),
        (same.frames_published_again, "frames with several messages"),
    )
    for count, what in counts:
        if count:
            yield f"again: {count} {what}"


def _next(found: Analysis) -> Iterator[str]:
    """Yield the next steps for the user; nothing if there is nothing to do."""
    steps = []
    best = found.recommendation
    if not found.rates.escape_rate.value and found.rates.escape_rate.value != 0.0:
        steps.append("label parts that are drawn blindly: inspection review --last 8h --csv > look.csv")
    elif best.is_supported:
        steps.append(f"inspect the stretch again with threshold {best.threshold:g} (inspection replay), and compare")
    elif best.is_change or best.warnings:
        steps.append("before the threshold is changed, label more parts: inspection review --last 8h --csv > look.csv")
    if worst := next((one for one in found.slices.slices if one.is_significant), None):
        steps.append(f"look at {shown(worst.by, 60)} {shown(worst.name, 80)} first")
    if found.latency.all.missed:
        steps.append("see docs/overload.md: frames were not decided in time")
    if steps:
        yield "next"
    for step in steps:
        yield f"  {step}"
