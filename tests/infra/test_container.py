"""Container image: it has all packages, nothing of the development environment, and needs no writable root."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

LOCK_NAMES = ("runtime", "build", "bench", "peers", "uv", "audit", "import-tensorflow", "import-torch")
LOCKS = ["requirements.lock", *(f"infra/locks/{name}.lock" for name in LOCK_NAMES)]
COPIED = re.compile(r"^COPY (?!--)(.+) (\S+)$", re.MULTILINE)


def copied(repository: Path) -> list[str]:
    """Return the paths that the Dockerfile copies from the checkout."""
    rows = COPIED.findall((repository / "infra/Dockerfile").read_text())
    return [source for sources, _ in rows for source in sources.split()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the unpacked wheel that the Dockerfile builds."""
    repository = Path(__file__).parents[2]
    folder = tmp_path_factory.mktemp("build")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in copied(repository):
        source, target = repository / name, folder / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheel")]
    subprocess.run(command, cwd=folder / "src", check=True, capture_output=True)
    [found] = (folder / "wheel").glob("*.whl")
    with zipfile.ZipFile(found) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_every_command_is_in_the_image(wheel: Path, repository: Path) -> None:
    code = (
        "import sys; repository, wheel = sys.argv[1:]\n"
        "sys.path = [wheel, *(each for each in sys.path if each not in ('', repository))]\n"
        "from infra.cli.commands import COMMANDS, load\n"
        "import infra\n"
        "assert infra.__file__.startswith(wheel), infra.__file__\n"
        "for name in COMMANDS: load(name)\n"
        # Programs that run in child processes; no command imports them.
        "from importlib import import_module\n"
        "for name in 'stream_processors.worker.trial', 'transport.range_program', 'transport.batch_trials.program':\n"
        "    assert import_module(name).__file__.startswith(wheel), name\n"
    )
    command = [sys.executable, "-P", "-c", code, str(repository), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=wheel.parent)
    assert done.returncode == 0, done.stderr


def test_the_image_has_every_file_of_the_packages(wheel: Path, repository: Path) -> None:
    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    listed = subprocess.run(["git", "ls-files", *packages], cwd=repository, capture_output=True, text=True, check=True)
    missing = [name for name in listed.stdout.split() if not (wheel / name).exists()]
    assert missing == []


def test_the_image_installs_no_development_packages(repository: Path) -> None:
    lock = (repository / "infra/locks/runtime.lock").read_text()
    names = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert {"confluent-kafka", "faust-streaming", "onnxruntime", "s3fs", "plotly"} <= names
    assert not names & {"pytest", "mypy", "ruff", "moto", "selenium", "hypothesis", "hatchling", "elpv-dataset"}
    tested = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (repository / "requirements.lock").read_text(), re.MULTILINE))
    wanted = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    assert {name: version for name, version in wanted.items() if tested.get(name) != version} == {}


@pytest.mark.long
def test_the_image_has_each_package_that_a_command_imports(wheel: Path, repository: Path) -> None:
    """Imports within functions too, which run long after the command was loaded.

    Recipes of what ships need more, and converters run in environments of their own.
    """
    lock = set(re.findall(r"^([a-z0-9-]+)==", (repository / "infra/locks/runtime.lock").read_text(), re.MULTILINE))
    ours = {path.name for path in wheel.iterdir()}
    installed = packages_distributions()
    missing = set()
    apart = {
        wheel / name for name in ("models/training/elpv", "models/training/backbone", "models/importers/converters")
    }
    for path in wheel.rglob("*.py"):
        if path.parent in apart:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for name in {module.partition(".")[0] for module in modules} - ours - sys.stdlib_module_names:
                packages = {each.lower().replace("_", "-") for each in installed.get(name, [])}
                if not packages & lock:
                    missing.add(f"{path.relative_to(wheel)}: {name}")
    assert missing == set()


def test_services_have_no_rights_that_they_do_not_need(repository: Path) -> None:
    services = yaml.safe_load((repository / "infra/compose.yaml").read_text())["services"]
    ours = {name: service for name, service in services.items() if "build" in service}
    assert set(ours) == {"topics", "worker", "watch"}
    for service in ours.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"]
    assert all("healthcheck" in ours[name] for name in ("worker", "watch"))


@pytest.mark.parametrize("path", ["Makefile", "infra/Dockerfile", "benchmarks/contenders/peers.py"])
def test_what_is_installed_is_pinned_with_hashes(repository: Path, path: str) -> None:
    # A line that ends in a backslash continues on the next line.
    text = re.sub(r"\\\n\s*", " ", (repository / path).read_text())
    text = re.sub(r"^PIP = .*$", "", text, flags=re.MULTILINE).replace("$(PIP)", "pip install")
    installs = [line for line in text.splitlines() if re.search(r"""pip["',]* *["']?install\b|\*pip, "install""", line)]
    assert installs
    unpinned = [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line]
    assert unpinned == []


@pytest.mark.parametrize("path", LOCKS)
def test_locks_have_a_hash_for_each_package(repository: Path, path: str) -> None:
    text = re.sub(r"\\\n\s*", " ", (repository / path).read_text())
    rows = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert rows
    assert [row for row in rows if "--hash=sha256:" not in row] == []
