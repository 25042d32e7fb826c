"""Checks of a model package as a list: everything that loading refuses, and what a person should look at."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from models.agreement import PackageDifference, differences
from models.errors import ImageError, ModelPackageError
from models.inspect_images import inspect_image
from models.manifest import Subject
from models.manifest_file import MANIFEST_NAME, ManifestFile
from models.onnx_bytes import ExternalData, NotOnnx, check_onnx
from models.onnx_graph import read_model
from models.opencv import cv2
from models.package import Model, load_model
from models.protobuf import Malformed
from models.regions import least_frame_wh
from models.remarks import NOT_ALIGNED
from models.sample_format import as_captured
from models.testing import check_model
from schemas.records import ResultState

CheckOutcome = Literal["ok", "warning", "error"]
#: Inspections of a made-up picture if there are no images.
_MADE_UP = 20
#: Images that are inspected before times count.
_WARM_UP = 3
#: With fewer images, equal verdicts or scores may be chance.
_FEW = 10
#: Names that people know the subjects by, which file and manifest tell. Outputs that are always the same show in a run.
_NAMES: dict[Subject, str] = {
    "activation": "activation, applied once", "labels": "labels and their order", "task": "task", "input": "input",
    "normalisation": "pixels, scaled once", "rows": "rows or columns of boxes", "box": "form of boxes",
    "threshold": "scores, not decisions", "random": "no random operators",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PackageCheck:
    """Result of one check; ``cure`` is empty if nothing is to be done."""

    name: str
    outcome: CheckOutcome
    text: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class PackageTiming:
    """Times of inspections on one core, in ms, and the share of images that a core inspects each second."""

    images: int
    p50_ms: float
    p99_ms: float
    images_per_s: float


@dataclass(slots=True)
class PackageReport:
    """Checks of a package.

    Parameters
    ----------
    model
        Loaded model; None if it does not load.
    peak_memory_mib
        Largest memory of this process, all of it, in MiB.
    verdicts, failures
        Number of images by verdict, and by the word for the reason why they cannot be read.
    """

    checks: list[PackageCheck] = field(default_factory=list)
    model: Model | None = None
    timing: PackageTiming | None = None
    peak_memory_mib: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def is_ok(self) -> bool:
        """True if no check is an error."""
        return not any(check.outcome == "error" for check in self.checks)

    def add(self, name: str, outcome: CheckOutcome, text: str, cure: str = "") -> None:
        """Add the result of a check."""
        self.checks.append(PackageCheck(name, outcome, text, cure))


def check_package(
    path: Path,
    images: Iterable[Callable[[], bytes]] = (),
    *,
    on_progress: Callable[[int], object] = lambda done: None,
) -> PackageReport:
    """Check a package; never raises, whatever the package and the images are.

    Parameters
    ----------
    path
        Folder of the package.
    images
        Functions that return the bytes of an image, or raise `OSError`. Without images a made-up picture is timed.
    on_progress
        Called with the number of images inspected.
    """
    report = PackageReport()
    try:
        source = ManifestFile.read(path / MANIFEST_NAME)
    except ModelPackageError as error:
        report.add("manifest", "error", *_split(str(error)))
        return report
    report.add("manifest", "ok", f"{source.manifest.name} {source.manifest.version}, {source.manifest.task}")
    _check_agreement(report, path, source)
    try:
        report.model = load_model(path)
    except ModelPackageError as error:
        text = str(error)
        if not any(check.outcome == "error" and check.text and check.text in text for check in report.checks):
            report.add("loading", "error", *_split(text))
        return report
    report.add("loading", "ok", "loads, and runs on made-up pictures")
    _check_contract(report, path)
    _check_reference(report, report.model)
    _inspect(report, report.model, images, on_progress)
    report.peak_memory_mib = _peak_mib()
    report.add("peak memory", "ok", f"{report.peak_memory_mib:.0f} MiB, all of this process")
    return report


def _check_agreement(report: PackageReport, path: Path, source: ManifestFile) -> None:
    """Add all differences between file and manifest; loading names the first one only."""
    try:
        data = (path / source.manifest.file).read_bytes()
        check_onnx(data)
        graph = read_model(data)
    except (OSError, NotOnnx, ExternalData, Malformed, MemoryError):
        return  # loading has the message
    found: dict[str, PackageDifference] = {}
    for difference in differences(graph, source.manifest):
        found.setdefault(difference.subject, difference)
    for subject, name in _NAMES.items():
        difference = found.get(subject)  # type: ignore[assignment]
        if difference is None:
            report.add(name, "ok", "file and manifest agree")
        elif subject in source.manifest.overrule:
            report.add(name, "warning", f"overruled: {difference.reason}")
        else:
            report.add(name, "error", *_split(str(source.error(difference.location, difference.reason))))


def _check_contract(report: PackageReport, path: Path) -> None:
    try:
        check_model(path)
    except AssertionError as error:
        text, _, expected = str(error).removeprefix(f"{path}: ").partition("; expected ")
        report.add("contract", "error", text, f"expected {expected}" if expected else "")
    else:
        report.add("contract", "ok", "a verdict for each made-up picture, and always the same one")


def _check_reference(report: PackageReport, model: Model) -> None:
    if model.reference is None:
        cure = f"inspection model reference {model.path} --images DIR, with the images of the training"
        report.add("drift reference", "warning", "none: drift is measured from the first frames of a line", cure)
    else:
        images = max((each.images for each in model.reference.everything.values()), default=0)
        report.add("drift reference", "ok", f"{len(model.reference.everything)} signals of {images} images")


def _inspect(
    report: PackageReport, model: Model, images: Iterable[Callable[[], bytes]], on_progress: Callable[[int], object]
) -> None:
    """Inspect the images one after the other, and add what they show."""
    times_ms: list[float] = []
    scores: set[float] = set()
    remarks: dict[str, str] = {}
    first_failure = ""
    done = 0
    for done, read in enumerate(images, 1):
        try:
            data = read()
            began_s = time.perf_counter()
            found = inspect_image(data, model)
        except (ImageError, OSError) as error:
            kind = error.kind if isinstance(error, ImageError) else "unreadable-file"
            report.failures[kind] += 1
            first_failure = first_failure or f"{kind}: {error}"
        else:
            times_ms.append((time.perf_counter() - began_s) * 1000)
            report.verdicts[found.verdict.value] += 1
            for remark in found.remarks:
                remarks.setdefault(remark.kind, remark.text)
            if found.result_state is not ResultState.COMPLETED:
                is_aligned = all(remark.kind != NOT_ALIGNED for remark in found.remarks)
                kind = "model-fault" if is_aligned else NOT_ALIGNED
                report.failures[kind] += 1
                first_failure = first_failure or f"{kind}: {found.reason}"
            elif found.score is not None:
                scores.add(found.score)
        on_progress(done)
    if done:
        _check_images(report, done, scores, first_failure)
        for kind, text in remarks.items():
            report.add(f"images, {kind}", "warning", text)
    else:
        times_ms = list(_made_up_times(model))
    if times_ms:
        _check_times(report, times_ms, "images" if done else "inspections of a made-up picture")


def _check_images(report: PackageReport, count: int, scores: set[float], first_failure: str) -> None:
    failed = report.failures.total()
    said = ", ".join(f"{number} {verdict}" for verdict, number in report.verdicts.most_common())
    if failed:
        outcome: CheckOutcome = "error" if failed == count else "warning"
        text = f"{failed} of {count} have no verdict; {first_failure}"
        report.add("images", outcome, text, "see `inspection predict` for the reason of each")
    else:
        report.add("images", "ok", f"{count}: {said}")
    if count - failed < _FEW:
        return
    if len(scores) == 1:
        report.add(
            "scores", "warning", f"all images have the score {next(iter(scores)):.4g}",
            "add images of defective parts; if theirs is the same, compare colour, scale, mean, std, low and high with "
            "the training",
        )  # fmt: skip
    elif len(report.verdicts) == 1:
        low, high = min(scores, default=0.0), max(scores, default=0.0)
        report.add(
            "scores", "warning", f"all images have one verdict ({said}), with scores from {low:.3g} to {high:.3g}",
            "take images of good and of defective parts; else compare threshold, colour and scale with the training",
        )  # fmt: skip


def _made_up_times(model: Model) -> Iterator[float]:
    spec = model.manifest.input
    least = least_frame_wh(spec)
    shape = (max(spec.height, least[1]), max(spec.width, least[0]))
    noise = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    data = cv2.imencode(".png", as_captured(noise, spec.samples))[1].tobytes()
    for _ in range(_MADE_UP):
        began_s = time.perf_counter()
        inspect_image(data, model)
        yield (time.perf_counter() - began_s) * 1000


def _check_times(report: PackageReport, times_ms: list[float], what: str) -> None:
    counted = times_ms[_WARM_UP:] or times_ms
    p50, p99 = (float(value) for value in np.percentile(counted, (50, 99)))
    rate = 1000 * len(counted) / sum(counted)
    report.timing = PackageTiming(len(counted), p50, p99, rate)
    text = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {rate:.0f} images/s on one core; {len(counted)} {what}"
    report.add("time", "ok", text)


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def _split(text: str) -> tuple[str, str]:
    """Return an error as its reason and its remedy, which our texts put behind the last colon or semicolon.

    Examples
    --------
    >>> _split("m/manifest.yaml:5: labels: the file has a, b, the manifest b, a: use the file's, in its order")
    ('m/manifest.yaml:5: labels: the file has a, b, the manifest b, a', "use the file's, in its order")
    """
    for sign in ("; ", ": "):
        reason, found, cure = text.rpartition(sign)
        if found and reason.count(":") >= 2:
            return reason, cure
    return text, ""
