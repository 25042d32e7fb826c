"""A package is loaded only if the file is what its manifest says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models import Model, ModelPackageError, default_model_path, load_model
from models.decisions import ModelIdentity
from models.onnx_bytes import ExternalData, NotOnnx, check_onnx
from models.testing import check_model
from tests.support.packages import MakePackage, graph_bytes, mean_classifier

INPUT = {"name": "image", "width": 8, "height": 8, "colour": "grey", "dtype": "float32"}


def external_model(folder: Path, *, nested: bool = False) -> bytes:
    """A model whose weight lies in another file, of the graph or of an ``If`` in it."""
    (folder / "weights.bin").write_bytes(np.ones(64, np.float32).tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8, 8], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    model = onnx.load_model_from_string(mean_classifier())
    if nested:
        branch = helper.make_graph(
            [helper.make_node("Identity", ["w"], ["r"])],
            "branch",
            [],
            [helper.make_tensor_value_info("r", TensorProto.FLOAT, [8, 8])],
            [tensor],
        )
        condition = helper.make_node("Constant", [], ["yes"], value_ints=[1])
        choice = helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch)
        model.graph.node.extend([condition, choice])
    else:
        model.graph.initializer.append(tensor)
        model.graph.node.append(helper.make_node("Identity", ["w"], ["unused"]))
    return bytes(model.SerializeToString())


def test_loads_and_names_itself(make_package: MakePackage) -> None:
    model = load_model(make_package())
    identity: ModelIdentity = model
    assert isinstance(model, Model)
    assert (identity.name, identity.version, identity.recipe_id, model.stage) == ("tiny", "1.0.0", "tiny", "champion")
    assert identity.recipe_revision.startswith("1-")


def test_takes_the_manifest_for_the_folder(make_package: MakePackage) -> None:
    assert load_model(make_package() / "manifest.yaml", stage="challenger").stage == "challenger"


@pytest.mark.parametrize("name", ["elpv_cells", "elpv_good_only", "elpv_stacked"])
def test_models_that_ship(name: str) -> None:
    folder = default_model_path().parent / name
    check_model(folder)
    assert "CC BY-NC-SA 4.0" in load_model(folder).manifest.training.licence


def test_altered_file(make_package: MakePackage) -> None:
    folder = make_package()
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(ModelPackageError, match=r"yaml:6: sha256: model\.onnx has [0-9a-f]{64}, the manifest"):
        load_model(folder)


@pytest.mark.parametrize("nested", [False, True])
def test_external_data(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool
) -> None:
    # Even from the folder where the data lies.
    monkeypatch.chdir(tmp_path)
    folder = make_package(external_model(tmp_path, nested=nested))
    with pytest.raises(ModelPackageError, match=r"yaml:5: file: model\.onnx keeps tensors in other files"):
        load_model(folder)


def test_the_file_may_change_after_it_was_checked(make_package: MakePackage) -> None:
    folder = make_package()
    model = load_model(folder)
    (folder / "model.onnx").write_bytes(b"")
    assert model.run(np.zeros((1, 1, 8, 8), np.float32))["scores"].shape == (1, 1)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x00" * 50, b"\x00\x00\x00\x00ORTM" + bytes(40), b"\x08\x07:\x00"])
def test_not_onnx(make_package: MakePackage, data: bytes) -> None:
    with pytest.raises(ModelPackageError, match=r"yaml:5: file: model\.onnx [^\n]*$"):
        load_model(make_package(data))


def test_every_truncation_is_refused_or_complete() -> None:
    data = mean_classifier()
    check_onnx(data)
    for length in range(len(data)):
        # Cut between two fields the rest still is protobuf; the sha256 and the runtime see to that.
        try:
            check_onnx(data[:length])
        except NotOnnx:
            continue


def test_packed_external_data_marker() -> None:
    with pytest.raises(ExternalData):
        check_onnx(bytes([0x08, 7, 0x3A, 4, 0x2A, 2, 0x70, 1]))  # Model{ir, graph{initializer{data_location: 1}}}


def test_link_out_of_the_package(make_package: MakePackage, tmp_path: Path) -> None:
    folder = make_package()
    os.rename(folder / "model.onnx", tmp_path / "outside.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(ModelPackageError, match=r"yaml:5: file: model\.onnx is a link that leaves the package"):
        load_model(folder)


def test_link_within_the_package(make_package: MakePackage) -> None:
    folder = make_package()
    (folder / "..data").mkdir()
    os.rename(folder / "model.onnx", folder / "..data" / "model.onnx")
    (folder / "model.onnx").symlink_to(Path("..data") / "model.onnx")
    assert load_model(folder).name == "tiny"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_no_regular_file(make_package: MakePackage, kind: str) -> None:
    folder = make_package()
    (folder / "model.onnx").unlink()
    if kind == "folder":
        (folder / "model.onnx").mkdir()
    elif kind == "pipe":
        os.mkfifo(folder / "model.onnx")
    with pytest.raises(ModelPackageError, match=r"yaml:5: file: model\.onnx"):
        load_model(folder)


#: Changes to the manifest -> line and reason.
MISMATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "input name": ({"input": INPUT | {"name": "x"}}, r"yaml:8: input\.name: the graph's inputs are 'image'"),
    "width": ({"input": INPUT | {"width": 16}}, r"yaml:9: input\.width: the graph takes shape"),
    "height": ({"input": INPUT | {"height": 16}}, r"yaml:10: input\.height: the graph takes shape"),
    "dtype": ({"input": INPUT | {"dtype": "uint8"}}, r"yaml:12: input\.dtype: the graph takes tensor\(float\)"),
    "channels": ({"input": INPUT | {"colour": "rgb"}}, r"yaml:7: input: the graph takes shape"),
    "layout": ({"input": INPUT | {"layout": "NHWC"}}, r"yaml:\d+: input"),
    "output name": ({"outputs": {"names": {"scores": "x"}}}, r"yaml:15: outputs\.names\.scores: .* no output 'x'"),
    "output shape": ({"labels": ["a", "b", "c"]}, r"yaml:15: outputs\.names\.scores: the output has shape \(1, 1\)"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), MISMATCHES.values(), ids=MISMATCHES.keys())
def test_graph_and_manifest_differ(make_package: MakePackage, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelPackageError, match=reason):
        load_model(make_package(**changes))


def test_a_graph_that_cannot_run(make_package: MakePackage) -> None:
    # Free axes pass the check of shapes; the warm-up finds out.
    nodes = [helper.make_node("Reshape", ["image", "shape"], ["logit"])]
    data = graph_bytes(
        nodes, {"logit": ("n", 1)}, constants={"shape": np.array([7, 5], np.int64)}, shape=["n", 1, "h", "w"]
    )
    with pytest.raises(ModelPackageError, match=r"yaml:5: file: model\.onnx does not run: "):
        load_model(make_package(data))
