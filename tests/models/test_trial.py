"""Models that never load, or take all memory: each is one line, and the calling process continues."""

from __future__ import annotations

import os
import resource
import signal
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper

from models import ModelPackageError, default_model_path, load_model, trial
from models.package_summary import shipped_packages
from models.trial import MEMORY_VARIABLE, SECONDS_VARIABLE, SHIPPED
from schemas.errors import SettingsError
from tests.support.packages import MakePackage, graph_bytes, mean_classifier

node, value = helper.make_node, helper.make_tensor_value_info


def endless() -> bytes:
    """Return a Loop of 2**62 rounds, in a few hundred bytes."""
    body = helper.make_graph(
        [node("Identity", ["on"], ["still_on"]), node("Add", ["a", "one"], ["more"])],
        "body",
        [value("i", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("a", TensorProto.FLOAT, [1])],
        [value("still_on", TensorProto.BOOL, []), value("more", TensorProto.FLOAT, [1])],
    )
    nodes = [node("Loop", ["rounds", "go", "zero"], ["x"], body=body), node("Reshape", ["x", "shape"], ["logit"])]
    constants = {
        "rounds": np.int64(2**62), "go": np.bool_(True), "zero": np.zeros(1, np.float32),
        "one": np.ones(1, np.float32), "shape": np.int64([1, 1]),
    }  # fmt: skip
    return graph_bytes(nodes, {"logit": (1, 1)}, constants=constants)


def huge(elements: int) -> bytes:
    """Return a constant of ``elements`` floats, in a few hundred bytes."""
    nodes = [
        node("ConstantOfShape", ["many"], ["big"]), node("ReduceSum", ["big"], ["sum"], keepdims=1),
        node("Reshape", ["sum", "shape"], ["total"]), node("ReduceMean", ["image"], ["m"], axes=[2, 3], keepdims=0),
        node("Sub", ["total", "m"], ["logit"]),
    ]  # fmt: skip
    constants = {"many": np.int64([elements]), "shape": np.int64([1, 1])}
    return graph_bytes(nodes, {"logit": ("n", 1)}, constants=constants)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "streaming-inspection" / "tried-models"


def test_a_loop_without_end_ends(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, "3")
    with pytest.raises(
        ModelPackageError, match=rf"yaml:5: file: model\.onnx does not (load|run) within 3 s.*{SECONDS_VARIABLE}"
    ):
        load_model(make_package(endless()))
    assert not own_cache.exists()


def test_a_busy_machine_makes_no_model_slow(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that has no processor for twice the limit, as beside other programs."""
    monkeypatch.setenv(SECONDS_VARIABLE, "3")
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    stopped: list[int] = []

    def stop() -> None:
        while not stopped:
            stopped.extend(map(int, children.read_text().split()))
        os.kill(stopped[0], signal.SIGSTOP)
        time.sleep(6)
        os.kill(stopped[0], signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    load_model(make_package(mean_classifier()))
    thread.join()


def test_a_child_that_does_nothing_ends(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trial, "_CHILD", tmp_path / "child.py")
    monkeypatch.setattr(trial, "_ELAPSED", 1.5)
    monkeypatch.setenv(SECONDS_VARIABLE, "1")
    (tmp_path / "child.py").write_text("import time; time.sleep(600)")
    with pytest.raises(ModelPackageError, match="does not load within 1 s"):
        load_model(make_package(mean_classifier()))


def test_a_constant_of_gigabytes_is_refused(make_package: MakePackage, own_cache: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelPackageError, match=rf"yaml:5: file: model\.onnx .*2048 MiB.*{MEMORY_VARIABLE}[^\n]*$"):
        load_model(make_package(huge(1_500_000_000)))
    # KiB: this process never allocated the 6 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000
    assert not own_cache.exists()


def test_the_limits_are_settings(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_package(huge(150_000_000))  # 600 MB
    monkeypatch.setenv(MEMORY_VARIABLE, "400")
    with pytest.raises(ModelPackageError, match=MEMORY_VARIABLE):
        load_model(package)
    monkeypatch.setenv(MEMORY_VARIABLE, "1500")
    assert load_model(package).name == "tiny"
    for wrong in ("much", "0", "nan"):
        monkeypatch.setenv(MEMORY_VARIABLE, wrong)
        with pytest.raises(SettingsError, match=MEMORY_VARIABLE):
            load_model(package)


def test_a_model_is_tried_once(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    tried: list[str] = []
    run = trial._run

    def counted(*given: object) -> str:
        tried.append("")
        return run(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(trial, "_run", counted)
    package = make_package()
    load_model(package)
    load_model(package)
    assert len(tried) == 1
    [mark] = own_cache.iterdir()
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_cache.stat().st_mode) == 0o700
    # Another limit, or another input, is another trial.
    monkeypatch.setenv(MEMORY_VARIABLE, "1024")
    load_model(package)
    assert len(tried) == 2
    mark.write_text("something else")
    monkeypatch.delenv(MEMORY_VARIABLE)
    load_model(package)
    assert len(tried) == 3


def test_a_cache_that_cannot_be_written_costs_a_trial_only(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_model(make_package()).name == "tiny"


def test_the_models_that_ship_need_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [default_model_path(), *shipped_packages().iterdir()]
    assert {yaml.safe_load((folder / "manifest.yaml").read_text())["sha256"] for folder in folders} == SHIPPED
    monkeypatch.setattr(trial, "_run", None)
    assert load_model(folders[0]).sha256 in SHIPPED


def test_a_child_that_dies_is_one_line(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child.py"
    child.write_text("import os, signal, sys\nsys.stdin.buffer.read()\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(trial, "_CHILD", child)
    with pytest.raises(ModelPackageError, match=r"ends the process while loading \(status -11\)"):
        load_model(make_package())


def test_what_does_not_load_says_why(make_package: MakePackage) -> None:
    data = mean_classifier().replace(b"ReduceMean", b"ReduceMoon")
    with pytest.raises(ModelPackageError, match=r"yaml:5: file: model\.onnx does not load: [^\n]*ReduceMoon"):
        load_model(make_package(data))


def test_nothing_of_the_current_directory_is_imported(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = make_package()
    (tmp_path / "here").mkdir()
    for name in ("numpy", "onnxruntime", "json"):
        (tmp_path / "here" / f"{name}.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", os.curdir)
    assert load_model(package).name == "tiny"


def test_the_child_imports_from_where_the_parent_does(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with ``pip install --user`` or PYTHONPATH: packages outside the interpreter's own folders."""
    child, elsewhere = tmp_path / "child.py", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "only_here.py").write_text("")
    own = trial._CHILD.read_text().replace("import numpy as np", "import numpy as np, only_here")
    child.write_text(own.replace("Path(__file__).with_name", f"Path({str(trial._CHILD)!r}).with_name"))
    monkeypatch.setattr(trial, "_CHILD", child)
    with pytest.raises(ModelPackageError, match=r"lacks a package: ModuleNotFoundError: No module named 'only_here'$"):
        load_model(make_package())
    monkeypatch.syspath_prepend(str(elsewhere))
    assert load_model(make_package()).name == "tiny"


def test_what_a_child_wrote_last_is_shown(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child.py"
    child.write_text("import sys\nsys.stdin.buffer.read()\nsys.exit('first\\nat last\\x1b[31m')\n")
    monkeypatch.setattr(trial, "_CHILD", child)
    with pytest.raises(ModelPackageError, match=r"\(status 1\): at last \[31m, which may be for want of memory"):
        load_model(make_package())
