"""`inspection replay`: inspect frames of the past again, or publish them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.options import ImageStoreUri, Json, image_store_uri
from infra.cli.shared.selection_options import SelectionArgs, takes_selection
from infra.cli.shared.shutdown import StopRequest, stop_on_signals
from schemas.errors import SettingsError
from schemas.plain_files import real_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from replay.past.resolved_selection import ResolvedSelection
    from replay.reinspect.run import RunResult
    from replay.reinspect.run_folder import RunFolder
    from replay.reinspect.variants import LoadedVariant, Variant

_AGAIN = "Inspect again"
_PUBLISH = "Publish again"
_PART_S = 10.0


def _again(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_AGAIN, **more)


def _publish(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_PUBLISH, **more)


@takes_selection
def replay(
    chosen: SelectionArgs,
    model: Annotated[
        Path | None,
        _again("Model package of the line, the champion. Default: the solar-cell model that ships.", "--model"),
    ] = None,
    challenger: Annotated[
        list[str] | None,
        _again("Another model package beside it, as DIR or NAME=DIR. Repeat it for more.", "--challenger"),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        _again(
            "The champion with another threshold beside it; NAME=0.4 for that challenger. Repeat it: the frames are "
            "inferred once.",
            "--threshold",
        ),
    ] = None,
    out: Annotated[
        Path | None, _again("Folder for the rows, for `inspection analyse`. Default: only the summary.", "--out")
    ] = None,
    resume: Annotated[Path | None, _again("Go on with the run in that folder.", "--resume")] = None,
    part_s: Annotated[
        float | None,
        _again(
            "Seconds between two writes of results: the most that a kill can lose. Default: 10.", "--part-s", min=0.1
        ),
    ] = None,
    threads: Annotated[int | None, _again("Frames inspected at once. Default: the cores.", "--threads", min=1)] = None,
    tolerate_differences: Annotated[
        bool, _again("Exit status 0 even if a decision is not reproduced.", "--tolerate-differences")
    ] = False,
    to_topic: Annotated[
        str | None,
        _publish(
            "Publish the frames again to this topic, such as inspection.replay.frames, in place of inspecting them.",
            "--to-topic",
        ),
    ] = None,
    speed: Annotated[
        str | None,
        _publish("1x: as they were captured (default); 10x: ten times as fast; max: as fast as it goes.", "--speed"),
    ] = None,
    image_store: ImageStoreUri = None,
    as_json: Json = False,
) -> None:
    """Inspect frames of the past again, as the worker does, and compare with what was decided then.

    With the model that the line ran, every decision must be reproduced byte for byte, except its times: differences are
    listed, and the exit status is 1. If the stretch has no frames, the status is 1 too, and the error tells what there
    is. The live line is not touched: no group is joined, nothing is committed, nothing is written to its topics.

        inspection replay --last 8h

        inspection replay --last 8h --threshold 0.4 --challenger new=../new_model --out run/

        inspection replay --last 1h --to-topic inspection.replay.frames --speed 10x
    """
    if to_topic is not None:
        if tolerate_differences or any(
            value is not None for value in (model, challenger, threshold, out, resume, threads, part_s)
        ):
            raise SettingsError("--to-topic publishes frames and inspects none: no --model, --out and the like with it")
        from infra.cli.past.republish import republish

        republish(chosen, to_topic, speed or "1x", as_json=as_json)
        return
    if speed is not None:
        raise SettingsError(
            "--speed is for --to-topic: an inspection has no other speed than --max-mib-s and --threads"
        )
    from infra.cli.past.replay_text import show

    stop = StopRequest()
    options = RunOptions(threads, _PART_S if part_s is None else part_s, image_store_uri(image_store), stop)
    if resume is not None:
        if any(value is not None for value in (model, challenger, threshold, out)):
            raise SettingsError("--resume stands alone: models and thresholds are those of the run")
        outcome = _resume(chosen, resume, options)
    else:
        variants = _variants(model, challenger or [], threshold or [])
        outcome = _begin(chosen, variants, out, options)
    show(outcome, resume or out, as_json=as_json)
    if not outcome.is_finished:
        raise typer.Exit(stop.status)
    if outcome.summary.different and not tolerate_differences:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class RunOptions:
    threads: int | None
    part_s: float
    image_store: str
    stop: StopRequest


def _begin(chosen: SelectionArgs, variants: list[Variant], out: Path | None, options: RunOptions) -> RunResult:
    """Start a new run; without a folder it uses a temporary one."""
    import tempfile

    from infra.cli.shared.progress import reading
    from replay.past.reads import empty_selection_error
    from replay.past.resolved_selection import ResolvedSelection
    from replay.reinspect.run import plan
    from replay.reinspect.run_folder import RunFolder
    from replay.reinspect.variants import load

    loaded = load(variants)
    with tempfile.TemporaryDirectory(prefix="inspection-replay-") as scratch, reading() as progress:
        with ResolvedSelection(chosen.source, chosen.selection, on_progress=progress) as resolved:
            if resolved.frames_total == 0:
                raise empty_selection_error(chosen.source)
            folder = RunFolder.create(Path(scratch) if out is None else out, plan(resolved, chosen.source, loaded))
            with folder.lock():
                outcome = _run(chosen, resolved, loaded, folder, options, progress)
        if outcome.is_finished and outcome.summary.selected == 0:
            if out is not None:
                folder.discard()
            raise empty_selection_error(chosen.source)
    return outcome


def _resume(chosen: SelectionArgs, path: Path, options: RunOptions) -> RunResult:
    """Continue a run, with exactly the messages that it selected when it began."""
    from infra.cli.shared.progress import reading
    from replay.past.resolved_selection import ResolvedSelection
    from replay.reinspect.run import RunResult, check_there, check_variants
    from replay.reinspect.run_folder import RunError, RunFolder
    from replay.reinspect.variants import from_described, load
    from schemas.records import Frame

    if not chosen.selection.is_everything:
        raise SettingsError("--resume stands alone: the run has its own selection")
    folder = RunFolder.open(path)
    topic = chosen.source.topic(Frame)
    if folder.plan.topic != topic:
        raise RunError(f"{path} is a run over {folder.plan.topic}, not {topic}: give the --prefix that it began with")
    if folder.is_finished:
        return RunResult(folder.progress().summary, 0, 0.0, is_finished=True)
    loaded = load(from_described(folder.plan.variants))
    check_variants(folder, loaded)
    with (
        folder.lock(),
        reading() as progress,
        ResolvedSelection(
            chosen.source, folder.plan.effective_selection, offsets=folder.plan.ranges, on_progress=progress
        ) as resolved,
    ):
        check_there(folder, chosen.source)
        return _run(chosen, resolved, loaded, folder, options, progress)


def _run(
    chosen: SelectionArgs,
    resolved: ResolvedSelection,
    loaded: Sequence[LoadedVariant],
    folder: RunFolder,
    options: RunOptions,
    progress: Callable[[str, int, int], object],
) -> RunResult:
    from replay.reinspect.run import run
    from schemas.codec import Codec
    from transport.image_store import ImageStore

    with stop_on_signals(options.stop):
        return run(
            resolved,
            loaded,
            folder,
            Codec.from_settings(chosen.source.kafka),
            ImageStore(options.image_store),
            threads=options.threads,
            part_s=options.part_s,
            stop=options.stop,
            on_progress=lambda done, count: progress("frames", done, count),
        )


def _variants(model: Path | None, challengers: list[str], thresholds: list[str]) -> list[Variant]:
    """Return the variants that the options name.

    Examples
    --------
    >>> [v.name for v in _variants(None, ["new=a/b", "c/d"], ["0.4", "new=0.30"])]
    ['champion', 'champion@0.4', 'new', 'new@0.3', 'd']
    """
    from replay.reinspect.variants import CHAMPION, Variant

    paths: dict[str, Path | None] = {CHAMPION: model}
    for text in challengers:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        name = name if equals else real_path(path).name
        if name in paths:
            raise SettingsError(f"--challenger {text!r}: there is a {name!r} already; name it, as in NAME={path}")
        paths[name] = path
    found: dict[str, list[Variant]] = {name: [Variant(name, path)] for name, path in paths.items()}
    for text in thresholds:
        name, equals, number = text.rpartition("=")
        name = name if equals else CHAMPION
        try:
            value = float(number)
        except ValueError:
            raise SettingsError(f"--threshold {text!r}: a number from 0 to 1, or NAME=NUMBER") from None
        if name not in paths:
            raise SettingsError(f"--threshold {text!r}: no model {name!r}; there is {', '.join(paths)}")
        found[name].append(Variant(f"{name}@{value:g}", paths[name], value))
    return [variant for each in found.values() for variant in each]
