"""Models of other frameworks are recognised by their content; each trap ends in one line with its remedy."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ImportRefused
from models.importers.sources import detect
from tests.support.saved_models import FLOAT, IMAGE, INT64, STRING, UINT8, saved_model

SERVING = {"serving_default": {"image": (FLOAT, IMAGE)}}
EXAMPLES = {"serving_default": {"examples": (STRING, (-1,))}}
RAW = {"serving_raw": {"image": (UINT8, IMAGE)}}


def test_a_saved_model_is_recognised(tmp_path: Path) -> None:
    found = detect(saved_model(tmp_path / "m", SERVING))
    assert (found.kind, found.framework, found.signature) == ("saved_model", "tensorflow", "serving_default")


def test_pusher_folders_give_the_largest_integer(tmp_path: Path) -> None:
    for version in ("9", "1700000000", "1800000000"):
        saved_model(tmp_path / "base" / version, SERVING)
    (tmp_path / "base" / "notes").mkdir()
    assert detect(tmp_path / "base").path.name == "1800000000"


def test_the_signature_of_an_image_is_taken_beside_one_of_examples(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "m", {**EXAMPLES, **RAW}, ["ParseExampleV2"])
    assert detect(folder).signature == "serving_raw"


@pytest.mark.parametrize(
    ("signatures", "operators", "asked", "line"),
    [
        (EXAMPLES, ["ParseExampleV2"], None, "signature serving_default takes serialized tf.Example; export one that"),
        (EXAMPLES, ["DecodeJpeg"], None, "takes serialized bytes of files; export one that takes an image"),
        ({**EXAMPLES, **RAW}, ["ParseExampleV2"], "serving_default", "takes serialized tf.Example"),
        (SERVING, ["Conv2D"], "other", "--signature other: "),
        ({"serving_default": {"x": (FLOAT, (2, 64, 64, 3))}}, ["Conv2D"], None, "takes batches of 2"),
        ({"serving_default": {"x": (FLOAT, (-1, 10))}}, ["MatMul"], None, "takes shape [None, 10], no image"),
        ({"serving_default": {"x": (INT64, IMAGE)}}, ["Conv2D"], None, "takes int64"),
        ({"serving_default": {"x": (FLOAT, IMAGE), "y": (FLOAT, IMAGE)}}, ["Conv2D"], None, "takes x, y"),
        ({"a": {"x": (FLOAT, IMAGE)}, "b": {"x": (FLOAT, IMAGE)}}, ["Conv2D"], None, "--signature a, b"),
        ({}, ["Conv2D"], None, "it has no signature"),
    ],
)
def test_signatures_that_take_no_image(signatures, operators, asked, line: str, tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "m", signatures, operators)
    with pytest.raises(ImportRefused) as caught:
        detect(folder, signature=asked)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_graph_with_variables_needs_their_folder(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="the folder variables/ is missing"):
        detect(saved_model(tmp_path / "m", SERVING, has_variables=False))
    assert detect(saved_model(tmp_path / "frozen", SERVING, ["Conv2D"], has_variables=False))


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(ImportRefused, match="not a model: a SavedModel is a folder"):
        detect(tmp_path / "images")
    saved_model(tmp_path / "base" / "1", SERVING)
    (tmp_path / "base" / "2").mkdir()
    with pytest.raises(ImportRefused, match="unfinished push"):
        detect(tmp_path / "base")
    with pytest.raises(ImportRefused, match="No such file"):
        detect(tmp_path / "none")


def _archive(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name.replace("__", "."), text)
    return path


def test_keras_files(tmp_path: Path) -> None:
    layers = {"class_name": "Functional", "config": {"layers": [{"class_name": "Conv2D"}]}}
    path = _archive(tmp_path / "m.keras", config__json=json.dumps(layers), metadata__json="{}")
    assert detect(path).kind == "keras"
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert detect(tmp_path / "m.h5").kind == "keras"


def test_code_in_a_keras_file_runs_only_if_it_is_trusted(tmp_path: Path) -> None:
    layers = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda"}]}}
    path = _archive(tmp_path / "m.keras", config__json=json.dumps(layers), metadata__json="{}")
    with pytest.raises(ImportRefused, match="use --trust-pickle if the file is yours"):
        detect(path)
    assert detect(path, trust=True).kind == "keras"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("m.keras", b"PK\x03\x04 cut off", "a damaged archive"),
        ("m.weights.h5", b"\x89HDF\r\n\x1a\n", "weights alone, without a network"),
        ("m.bin", b"nothing that is known", "not a model that is known"),
        ("m.onnx", b"", "not a model that is known"),
    ],
)
def test_files_that_are_no_models(name: str, content: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImportRefused) as caught:
        detect(path)
    assert line in str(caught.value)


def test_archives_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="an archive that is no model"):
        detect(_archive(tmp_path / "a.zip", notes="text"))
    with pytest.raises(ImportRefused, match=r"config\.json is damaged"):
        detect(_archive(tmp_path / "b.keras", config__json="{", metadata__json="{}"))


class Module:
    """Class of a user."""


def _torch(path: Path, value: object, *names: str, protocol: int = 2) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickle.dumps(value, protocol))
        for name in names:
            archive.writestr(f"{path.stem}/{name}", b"")
    return path


def test_files_of_pytorch(tmp_path: Path) -> None:
    weights = _torch(tmp_path / "w.pt", OrderedDict(bias=1.0))
    assert detect(weights, entry="net:build").kind == "torch_module"
    assert detect(_torch(tmp_path / "s.pt", 0, "constants.pkl", "code/__torch__.py")).kind == "torchscript"
    assert detect(_torch(tmp_path / "p.pt2", 0, "archive_format", "models/model.json")).kind == "torch_program"


def test_weights_alone_need_their_network(tmp_path: Path) -> None:
    weights = _torch(tmp_path / "w.pt", OrderedDict(bias=1.0))
    with pytest.raises(ImportRefused, match=r"weights alone .*--entry package:function"):
        detect(weights)
    with pytest.raises(ImportRefused, match="--entry net: write package:function"):
        detect(weights, entry="net")
    with pytest.raises(ImportRefused, match="leave --entry out"):
        detect(_torch(tmp_path / "s.pt", 0, "constants.pkl", "code/__torch__.py"), entry="net:build")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("entry", [None, "net:build"])
def test_a_whole_pickled_module_is_refused(entry: str | None, protocol: int, tmp_path: Path) -> None:
    path = _torch(tmp_path / "whole.pt", Module(), protocol=protocol)
    with pytest.raises(ImportRefused, match=r"whole pickled module, whose loading runs code: save model\.state_dict"):
        detect(path, entry=entry, trust=True)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_model_of_anomalib_is_loaded_only_if_it_is_yours(protocol: int, tmp_path: Path) -> None:
    path = _pickled(tmp_path / "model.pt", "anomalib.models.image.padim.lightning_model", "Padim", protocol)
    with pytest.raises(ImportRefused, match=r"a pickled model of Anomalib, .*: use --trust-pickle") as caught:
        detect(path)
    assert "\n" not in str(caught.value)
    found = detect(path, trust=True)
    assert (found.kind, found.framework, found.known["threshold"]) == ("anomalib", "anomalib", "0.5")


def test_a_checkpoint_of_anomalib_is_exported_first(tmp_path: Path) -> None:
    path = _pickled(tmp_path / "model.ckpt", "anomalib", "PrecisionType", 2)
    with pytest.raises(ImportRefused, match=r"a checkpoint of Anomalib: export it with Engine\(\)\.export"):
        detect(path, trust=True)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_model_of_ultralytics_goes_by_its_own_export(protocol: int, tmp_path: Path) -> None:
    path = _pickled(tmp_path / "best.pt", "ultralytics.nn.tasks", "DetectionModel", protocol)
    with pytest.raises(ImportRefused, match=r"yolo export model=best\.pt format=onnx.*model init best\.onnx") as caught:
        detect(path, trust=True)
    assert "\n" not in str(caught.value)


def _pickled(path: Path, module: str, name: str, protocol: int) -> Path:
    """Write an object of a class in a module that is not installed."""
    parts = module.split(".")
    modules = {part: ModuleType(part) for part in (".".join(parts[: n + 1]) for n in range(len(parts)))}
    made = type(name, (), {"__module__": module})
    setattr(modules[module], name, made)
    with pytest.MonkeyPatch.context() as patch:
        for each, value in modules.items():
            patch.setitem(sys.modules, each, value)
        return _torch(path, {"model": made()}, protocol=protocol)


def test_damaged_and_old_pickles(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.pt", "w") as archive:
        archive.writestr("d/data.pkl", b"\x80\x02c cut")
    with pytest.raises(ImportRefused, match=r"data\.pkl is damaged"):
        detect(tmp_path / "d.pt")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(1))
    with pytest.raises(ImportRefused, match="a pickle, whose loading runs code"):
        detect(tmp_path / "old.pth")


@given(st.binary(max_size=200))
def test_garbage_in_a_saved_model_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("garbage")
    (folder / "saved_model.pb").write_bytes(content)
    with pytest.raises(ImportRefused):
        detect(folder)


def test_a_classifier_on_an_embedding_is_loaded_only_if_it_is_yours(tmp_path: Path) -> None:
    (tmp_path / "clf.joblib").write_bytes(pickle.dumps(1))
    with pytest.raises(ImportRefused, match="needs --embedding lite0"):
        detect(tmp_path / "clf.joblib")
    with pytest.raises(ImportRefused, match="use --trust-pickle if the file is yours"):
        detect(tmp_path / "clf.joblib", embedding="lite0")
    found = detect(tmp_path / "clf.joblib", embedding="lite0", trust=True)
    assert (found.kind, found.framework, found.embedding) == ("sklearn", "sklearn", "lite0")
    (tmp_path / "clf.onnx").write_bytes(b"x")
    assert detect(tmp_path / "clf.onnx", embedding="lite0").framework == ""
