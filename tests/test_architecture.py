"""The arrows of the house: who may import whom, read from the imports themselves.

::

    infra > {console, gateway} > {replay, operations} > {producers, stream_processors, actuators} > monitoring
    > models > transport > schemas
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LIVE = {"producers", "stream_processors", "actuators"}
FLOORS = {
    "benchmarks": 8,
    "infra": 7,
    "console": 6,
    "gateway": 6,
    "replay": 5,
    "operations": 5,
    **dict.fromkeys(LIVE, 4),
    "monitoring": 3,
    "models": 2,
    "transport": 1,
    "schemas": 0,
}
#: Foreign packages that belong to one place, or stay out of one.
ONLY_IN = {"faust": {"stream_processors"}, "mode": {"stream_processors"}, "aiokafka": {"stream_processors"}}
#: The two programs that are measured beside ours are nothing but what they import.
PEERS = {"benchmarks/contenders/plain_faust.py": "faust", "benchmarks/contenders/aiokafka_hand.py": "aiokafka"}
#: The one file beside Faust that needs aiokafka: confluent-kafka gives no header of a batch.
ENDS_OF_BATCHES = ("transport/batch_ends.py", "aiokafka")
#: The one exception to the floors: audits and reports of a line read its past.
EXCEPTION = ("operations", "replay.past")
NOT_IN = {
    "models": {"transport", "confluent_kafka", "asyncio", "faust", "aiokafka"},
    "monitoring": {"transport", "confluent_kafka", "asyncio", "faust", "aiokafka"},
    "transport": {"faust", "aiokafka", "cv2", "onnxruntime", "typer", "rich"},
    "schemas": {"faust", "aiokafka", "asyncio", "cv2", "onnxruntime", "typer", "rich"},
    "producers": {"faust", "aiokafka", "typer", "rich"},
    "actuators": {"faust", "aiokafka", "typer", "rich"},
    "replay": {"faust", "aiokafka", "typer", "rich"},
    "operations": {"faust", "aiokafka", "typer", "rich"},
    "console": {"faust", "aiokafka"},
    "gateway": {"faust", "aiokafka", "typer", "rich"},
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


def is_exception(importer: str, name: str) -> bool:
    """Return whether an import is the one that the floors do not allow, but the house does."""
    return importer == EXCEPTION[0] and (name + ".").startswith(EXCEPTION[1] + ".")


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
        if name != PEERS.get(str(path.relative_to(ROOT)))
        and (str(path.relative_to(ROOT)), name.partition(".")[0]) != ENDS_OF_BATCHES
        and not is_exception(importer, name)
        and (why := forbidden(importer, name.partition(".")[0]))
    ]
    assert wrong == []


def test_operations_read_topics_through_the_past():
    """Readers of their own would know nothing of an archive."""
    names = {name for path in (ROOT / "operations").rglob("*.py") for _, name in imports(path)}
    assert "replay.past.source" in names
    assert "transport.range_reader" not in names


def test_the_two_faust_programs_share_only_the_host():
    """The host is below the worker and the watch, which do not import each other."""
    root = ROOT / "stream_processors"
    beside = {"faust_host": {"worker", "watch"}, "worker": {"watch"}, "watch": {"worker"}}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for folder, others in beside.items()
        for path in sorted((root / folder).rglob("*.py"))
        for line, name in imports(path)
        if name.startswith(tuple(f"stream_processors.{other}" for other in others))
    ]
    assert wrong == []


def test_only_the_host_touches_the_transport_of_faust():
    found = {
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name.startswith("faust.transport") for _, name in imports(path))
    }
    assert found
    assert all(path.startswith("stream_processors/faust_host/") for path in found)


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
RUNTIME = {"models/runtime.py", "models/training/elpv/export_classifier.py"}


#: Packages that build Kafka clients. ``benchmarks`` has clients of its own, which it compares with ours.
CLIENTS_IN = ("transport", "stream_processors/faust_host")


def test_kafka_clients_are_built_in_one_way() -> None:
    """Only then does a setting of the connection, such as TLS, reach every client."""
    wrong = []
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("benchmarks/"):
            continue
        text = path.read_text(encoding="utf-8")
        if '"bootstrap.servers":' in text and name != "transport/clients.py":
            wrong.append(f"{name}: bootstrap.servers")
        if name.startswith(CLIENTS_IN):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("confluent_kafka"):
                found = {alias.name for alias in node.names} & {"Producer", "Consumer", "AdminClient"}
                wrong += [f"{name}: {each}" for each in sorted(found)]
    assert not wrong, "use transport.clients and transport.producer"


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
    # A command for `python -c` is no import that the search above finds.
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if str(path.relative_to(ROOT)) not in RUNTIME and re.search(r"""["']import [^"'\n]*onnxruntime""", text):
            assert '"ORT_DISABLE_TELEMETRY": "1"' in text, path


def test_testing_kits_need_no_test_framework():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in modules()
        for line, name in imports(path)
        if name.partition(".")[0] in {"pytest", "_pytest", "hypothesis", "unittest"}
    ]
    assert wrong == []


def test_every_package_of_ours_has_a_floor():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "a module starts with a docstring"


def test_tests_share_code_through_support_only() -> None:
    """A test module that another one imports cannot change without it."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for name in re.findall(r"^from (tests\S*|\.\S*) import", path.read_text(encoding="utf-8"), re.MULTILINE)
        if not name.startswith("tests.support")
    }
    assert found == set()
