"""The arrows of the house: who may import whom, read from the imports themselves.

::

    infra > {console, replay} > {producers, stream_processors, actuators} > models > schemas
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LIVE = {"producers", "stream_processors", "actuators"}
FLOORS = {
    "benchmarks": 5,
    "infra": 4,
    "console": 3,
    "replay": 3,
    **dict.fromkeys(LIVE, 2),
    "models": 1,
    "schemas": 0,
}
#: Foreign packages that belong to one place, or stay out of one.
ONLY_IN = {"faust": {"stream_processors"}, "mode": {"stream_processors"}, "aiokafka": {"stream_processors"}}
#: The two programs that are measured beside ours are nothing but what they import.
PEERS = {"benchmarks/contenders/plain_faust.py": "faust", "benchmarks/contenders/aiokafka_hand.py": "aiokafka"}
NOT_IN = {
    "models": {"confluent_kafka", "asyncio", "faust", "aiokafka"},
    "schemas": {"faust", "aiokafka", "asyncio", "cv2", "onnxruntime", "typer", "rich"},
    "producers": {"faust", "aiokafka", "typer", "rich"},
    "actuators": {"faust", "aiokafka", "typer", "rich"},
    "replay": {"faust", "aiokafka"},
    "console": {"faust", "aiokafka"},
}


def modules() -> list[Path]:
    return [path for package in sorted(FLOORS) for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each import, wherever in the file it stands."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield node.lineno, ".".join([*base, *([node.module] if node.module else [])])


def forbidden(importer: str, imported: str) -> str | None:
    """Why one package may not import another, None if it may."""
    if importer == imported:
        return None
    if imported in FLOORS:
        if FLOORS[imported] > FLOORS[importer]:
            return f"{imported} is above {importer}"
        if FLOORS[imported] == FLOORS[importer]:
            return f"{imported} is beside {importer}"
    if imported in ONLY_IN and importer not in ONLY_IN[imported]:
        return f"{imported} is for {', '.join(ONLY_IN[imported])} only"
    if imported in NOT_IN.get(importer, ()):
        return f"{importer} knows no {imported}"
    return None


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_down(path):
    importer = path.relative_to(ROOT).parts[0]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {why}"
        for line, name in imports(path)
        if name != PEERS.get(str(path.relative_to(ROOT))) and (why := forbidden(importer, name.partition(".")[0]))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("schemas", "models"),
        ("models", "producers"),
        ("models", "confluent_kafka"),
        ("producers", "actuators"),
        ("stream_processors", "replay"),
        ("replay", "console"),
        ("replay", "infra"),
        ("infra", "faust"),
    ],
)
def test_the_rule_itself_refuses(importer, imported):
    assert forbidden(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [("infra", "replay"), ("replay", "models"), ("producers", "schemas"), ("infra", "schemas")],
)
def test_the_rule_itself_allows(importer, imported):
    assert forbidden(importer, imported) is None


#: Modules that may import ONNX Runtime: its telemetry is off before. `models` itself imports `models.runtime`.
RUNTIME = {"models/runtime.py", "models/training/good_only.py", "models/training/export_classifier.py"}


def test_onnx_runtime_is_imported_with_its_telemetry_off():
    found = {
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name.partition(".")[0] == "onnxruntime" for _, name in imports(path))
    }
    assert found == {*RUNTIME, "benchmarks/contenders/job.py"}
    for name in ("models/runtime.py", "benchmarks/contenders/job.py"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert 0 < text.index('os.environ["ORT_DISABLE_TELEMETRY"] = "1"') < text.index("import onnxruntime")


def test_every_package_of_ours_has_a_floor():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "a module starts with a docstring"
