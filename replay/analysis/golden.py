"""Golden samples: images whose truth is certain, which every model has to judge correctly."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import ImageError
from models.image_folder import list_images, read_image_file
from models.image_remarks import ImageRemarks
from models.inspect_images import inspect_image
from models.inspection import Inspection
from models.package import Model
from replay.analysis.comparison_results import GoldenChange, GoldenComparison
from schemas.errors import SettingsError
from schemas.plain_files import read_plain
from schemas.records import Action, ResultState
from schemas.text import file_text

_log = logging.getLogger(__name__)
#: Largest list of samples.
_MOST_BYTES = 64 * 1024 * 1024
_GOOD = frozenset({"good", "ok", "pass", "functional"})
_BAD = frozenset({"defective", "bad", "nok", "not_ok", "not-ok", "ng", "fail"})


@dataclass(frozen=True, slots=True)
class GoldenSample:
    """Image and its truth; ``defect`` is empty for a good image, and for a defective one without a named defect."""

    path: Path
    is_defective: bool
    defect: str = ""


def load_golden(path: Path) -> list[GoldenSample]:
    """Return the samples of a folder or of a CSV file, in the order of their names or rows.

    Parameters
    ----------
    path
        Either a folder with one folder for each truth: ``good`` (ok, pass, functional), ``defective`` (bad, nok, ng,
        fail), or any other name, which is a class of defect. Or a CSV file with the columns file, truth and,
        optionally, defect; the file names are relative to the folder of the CSV file.

    Raises
    ------
    SettingsError
        If the path cannot be read, has no samples, or an entry has no valid truth; the message names the row.
    """
    samples = _from_csv(path) if path.is_file() else _from_folder(path)
    if not samples:
        raise SettingsError(f"golden samples {path}: no images there; a folder has folders good/ and defective/")
    return samples


def compare_golden(
    samples: Iterable[GoldenSample],
    champion: Model,
    challenger: Model,
    *,
    on_progress: Callable[[int], object] = lambda done: None,
) -> GoldenComparison:
    """Inspect every sample with two models.

    Raises
    ------
    SettingsError
        If an image cannot be read. The owner of the samples has to repair it.
    """
    samples = list(samples)
    names = ("champion_escapes", "challenger_escapes", "champion_overkill", "challenger_overkill", "newly_missed",
             "newly_found", "newly_overkilled", "newly_accepted", "challenger_failed")  # fmt: skip
    counts = dict.fromkeys(names, 0)
    changed = []
    remarks = ImageRemarks()
    for done, sample in enumerate(samples, 1):
        one, two = _inspect_both(sample, champion, challenger)
        remarks.log("golden samples, champion", one.remarks)
        remarks.log("golden samples, challenger", two.remarks)
        error, was, now = (
            ("escapes", one.action is Action.ACCEPT, two.action is Action.ACCEPT)
            if sample.is_defective
            else ("overkill", one.action is Action.REJECT, two.action is Action.REJECT)
        )
        counts[f"champion_{error}"] += was
        counts[f"challenger_{error}"] += now
        counts["newly_missed" if sample.is_defective else "newly_overkilled"] += now and not was
        counts["newly_found" if sample.is_defective else "newly_accepted"] += was and not now
        counts["challenger_failed"] += (
            two.result_state is not ResultState.COMPLETED and one.result_state is ResultState.COMPLETED
        )
        if one.action is not two.action:
            changed.append(_change(sample, one, two))
        on_progress(done)
    bad = sum(sample.is_defective for sample in samples)
    return GoldenComparison(good=len(samples) - bad, defective=bad, changed=tuple(changed), **counts)


def _inspect_both(sample: GoldenSample, champion: Model, challenger: Model) -> tuple[Inspection, Inspection]:
    try:
        image = read_image_file(sample.path)
        return inspect_image(image, champion), inspect_image(image, challenger)
    except OSError as error:
        raise SettingsError(f"golden sample {sample.path}: {error.strerror or error}") from error
    except ImageError as error:
        raise SettingsError(f"golden sample {sample.path}: {error}") from error


def _change(sample: GoldenSample, one: Inspection, two: Inspection) -> GoldenChange:
    return GoldenChange(
        file=file_text(sample.path),
        truth="defective" if sample.is_defective else "good",
        defect=file_text(sample.defect),
        champion_action=one.action.value,
        challenger_action=two.action.value,
        champion_score=one.score,
        challenger_score=two.score,
    )


def _from_folder(folder: Path) -> list[GoldenSample]:
    try:
        found = list_images(folder)
    except OSError as error:
        raise SettingsError(f"golden samples {folder}: {error.strerror or error}") from error
    for note in found.notes:
        _log.warning("golden samples %s: %s", folder, note)
    below = ((file, file.relative_to(folder).parts) for file in found.images if file.is_file())
    return [_sample(file, parts[0], "") for file, parts in below if len(parts) > 1]


def _from_csv(path: Path) -> list[GoldenSample]:
    found = []
    try:
        text = read_plain(path, _MOST_BYTES, regular=False).decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"golden samples {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"golden samples {path}: no text in UTF-8, save it as CSV UTF-8: {error}") from error
    separator = ";" if ";" in text.partition("\n")[0] else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = set(rows.fieldnames or ())
    except csv.Error as error:
        raise SettingsError(f"golden samples {path}: {error}") from error
    if not {"file", "truth"} <= names:
        raise SettingsError(
            f"golden samples {path}: the first row names the columns file, truth and, if wanted, defect"
        )
    for number, row in enumerate(_read(path, rows), 2):
        file, truth, defect = ((row.get(name) or "").strip() for name in ("file", "truth", "defect"))
        if not file:
            raise SettingsError(f"golden samples {path}, row {number}: file is empty")
        if "\0" in file:
            raise SettingsError(f"golden samples {path}, row {number}: file {file!r} is no name of a file")
        if truth.lower() not in _GOOD | _BAD:
            raise SettingsError(f"golden samples {path}, row {number}: truth {truth!r}: good or defective")
        image = path.parent / file
        # Reading a pipe or a device never ends.
        if not image.is_file():
            reason = "not a regular file" if image.exists() else "no such file"
            raise SettingsError(f"golden samples {path}, row {number}: {image}: {reason}")
        found.append(_sample(image, truth, defect))
    return found


def _read(path: Path, rows: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise SettingsError(f"golden samples {path}, line {rows.line_num}: {error}") from error


def _sample(path: Path, word: str, defect: str) -> GoldenSample:
    if word.lower() in _GOOD:
        return GoldenSample(path, False)
    return GoldenSample(path, True, defect or ("" if word.lower() in _BAD else word))
