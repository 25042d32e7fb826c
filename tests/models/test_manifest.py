"""Every mistake in a manifest is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import ModelPackageError
from models.manifest_file import ManifestFile

GOOD = """\
manifest_version: 1
name: cells
version: "1.0"
task: classification
file: model.onnx
sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
input:
  name: image
  width: 8
  height: 8
  colour: grey
  dtype: float32
outputs:
  names: {scores: logit}
  activation: sigmoid
labels: [defect]
decision:
  recipe_id: cells
  revision: 1
  threshold: 0.5
  review_band: [0.4, 0.6]
  actions:
    NOT_DECIDABLE: REJECT
training: {provenance: p, licence: l, data: d, split: s}
metrics: {accuracy: 0.9, found_on: 2026-02-01}
"""

MISTAKES = {
    "not yaml": ("labels: [defect]", "labels: [defect", 17, "not YAML"),
    "unknown key": ("  dtype: float32", "  dtype: float32\n  sizes: 3", 13, "input.sizes: Extra inputs"),
    "missing key": ("  width: 8\n", "", 7, "input.width: Field required"),
    "version": ("manifest_version: 1", "manifest_version: 2", 1, "manifest_version: Input should be 1"),
    "number for text": ('"1.0"', "1.0", 3, "version: Input should be a valid string"),
    "wrong word": ("colour: grey", "colour: gray", 11, "input.colour: Input should be 'grey', 'rgb' or 'bgr'"),
    "threshold": ("threshold: 0.5", "threshold: 1.5", 20, "decision.threshold: Input should be less than"),
    "yes for number": ("threshold: 0.5", "threshold: yes", 20, "decision.threshold: Input should be a valid number"),
    "nan": ("threshold: 0.5", "threshold: .nan", 20, "decision.threshold: Input should be a finite number"),
    "band backwards": ("[0.4, 0.6]", "[0.6, 0.4]", 21, "decision.review_band: the lower end comes first"),
    "accepts the unknown": ("NOT_DECIDABLE: REJECT", "NOT_DECIDABLE: ACCEPT", 23, "must not be accepted"),
    "no such action": ("NOT_DECIDABLE: REJECT", "NOT_DECIDABLE: PASS", 23, "decision.actions.NOT_DECIDABLE"),
    "digest": ("sha256: aa", "sha256: zz", 6, "sha256: String should match"),
    "file elsewhere": ("file: model.onnx", "file: ../model.onnx", 5, "file: String should match"),
    "roles": ("{scores: logit}", "{map: logit}", 13, "outputs: names of a classification model are {scores}"),
    "label twice": ("[defect]", "[defect, defect]", 16, "labels: a label is there twice"),
    "good label": ("labels: [defect]", "labels: [defect]\ngood_label: fine", 17, "'fine' is not one of the labels"),
    "uint8 scaled": ("dtype: float32", "dtype: uint8\n  scale: 0.5", 13, "input.scale: a uint8 input"),
    "channels": ("dtype: float32", "dtype: float32\n  mean: [1, 2, 3]", 13, "input.mean: one number for each of the 1"),
    "no block": ("task: classification", "task: anomaly_map", 1, "anomaly: a model of task anomaly_map needs"),
    "other block": ("labels: [defect]", "labels: [defect]\nanomaly: {high: 2}", 17, "anomaly: not for a model of task"),
    "key twice": ("name: cells\n", "name: cells\nname: cells\n", 3, "'name' is there twice, first on line 2"),
    "alias": ("labels: [defect]", "labels: &l [defect]\ngood_label: *l", 17, "an alias"),
    "merge": ("accuracy: 0.9", "<<: {accuracy: 0.9}", 25, "a key that is not a plain word"),
}

#: Lines that the constructors of the YAML library do not expect -> text of the error.
ODD_VALUES = {
    "x: 0x" + "f" * 200_000: "a number of 200002 characters",
    "x: " + "9" * 5_000: "a number of 5000 characters",
    "x: 1:" + "59:" * 3_000 + "59": "a number of 9004 characters",
    'x: !!int ""': "'' is no int",
    "x: 0x_": "'0x_' is no int",
    "x: !!int 1.5": "'1.5' is no int",
    "x: !!float ''": "'' is no float",
    "x: !!bool maybe": "'maybe' is no bool",
    "x: !!timestamp maybe": "x: Extra inputs",
    "x: 2026-02-31": "x: Extra inputs",
    "x: .inf": "x: Extra inputs",
    "x: !!binary '*'": "the tag !!binary",
    "x: !!set {a, b}": "the tag !!set",
    "x: !!map [1]": "the tag !!map",
    "x: !!python/object/apply:os.getcwd []": "the tag !!python/object/apply:os.getcwd",
    "x: !cells 1": "the tag !cells",
    "x: =": "the tag !!value",
    "? !!int ''\n: 1": "Extra inputs",
    '"two\\nlines": 1': "Extra inputs",
    "? [a]\n: 1": "a key that is not a plain word",
    "x: " + "[" * 100 + "]" * 100: "nested too deep",
    "x: " + "[" * 9_000: "nested too deep",
    "x: " + "[" * 200_000: "nested too deep",
    'x: "\\uD800"': "half of a surrogate pair",
    'x: "\\U0011FFFF"': "an escape that stands for no character",
    "x: \x07": "special characters are not allowed",
}  # fmt: skip


def read(folder: Path, text: str) -> ManifestFile:
    (folder / "manifest.yaml").write_text(text, encoding="utf-8")
    return ManifestFile.read(folder / "manifest.yaml")


@pytest.mark.parametrize(("old", "new", "line", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, reason: str) -> None:
    assert old in GOOD
    with pytest.raises(ModelPackageError) as caught:
        read(tmp_path, GOOD.replace(old, new))
    message = str(caught.value)
    assert reason in message
    assert f"manifest.yaml:{line}: " in message
    assert "\n" not in message


@pytest.mark.parametrize(("line", "reason"), ODD_VALUES.items(), ids=[line[:20] for line in ODD_VALUES])
def test_a_value_that_the_yaml_library_trips_over(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(ModelPackageError) as caught:
        read(tmp_path, GOOD + line + "\n")
    message = str(caught.value)
    assert reason in message
    assert f"manifest.yaml:{GOOD.count(chr(10)) + 1}: " in message
    assert "\n" not in message
    assert len(message) < 500


def test_dates_and_numbers_within_metrics_stay_what_they_are(tmp_path: Path) -> None:
    text = GOOD.replace("found_on: 2026-02-01", "found_on: 2026-02-31, best: .inf, of: 1_000, none: ~")
    assert read(tmp_path, text).manifest.metrics == {
        "accuracy": 0.9, "found_on": "2026-02-31", "best": float("inf"), "of": 1000, "none": None,
    }  # fmt: skip


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ModelPackageError, match=r"yaml:9: input\.width: .* \(and 1 more\)"):
        read(tmp_path, GOOD.replace("width: 8", "width: 0").replace("threshold: 0.5", "threshold: 2"))


@pytest.mark.parametrize("raw", [b"", b"- a\n- b\n", b"name: \xff\n", b"[" * 5000, b"a: b\n" * 60_000])
def test_what_is_no_manifest(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "manifest.yaml").write_bytes(raw)
    with pytest.raises(ModelPackageError, match=r"manifest\.yaml"):
        ManifestFile.read(tmp_path / "manifest.yaml")


def test_no_manifest_at_all(tmp_path: Path) -> None:
    with pytest.raises(ModelPackageError, match=r"a model package is a folder with manifest\.yaml"):
        ManifestFile.read(tmp_path / "manifest.yaml")


def test_defaults_reject_what_is_not_ok(tmp_path: Path) -> None:
    actions = read(tmp_path, GOOD).manifest.decision.actions
    assert (actions.OK, actions.NOT_OK, actions.NOT_DECIDABLE) == ("ACCEPT", "REJECT", "REJECT")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("threshold: 0.5", "threshold: 0.55", True),
        ("revision: 1", "revision: 2", True),
        ("dtype: float32", "dtype: float32\n  scale: 0.5", True),
        ("activation: sigmoid", "activation: none", True),
        ('"1.0"', '"1.1"', False),
        ("accuracy: 0.9", "accuracy: 0.8", False),
    ],
)
def test_revision_changes_with_what_decides(tmp_path: Path, old: str, new: str, changes: bool) -> None:
    before, after = read(tmp_path, GOOD).manifest, read(tmp_path, GOOD.replace(old, new)).manifest
    assert (before.recipe_revision != after.recipe_revision) is changes
