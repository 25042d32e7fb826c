"""Container image, run for real: a read-only root, no rights, no development tools, and frames get their answers."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.cli.commands import COMMANDS
from schemas import KafkaSettings
from tests.support.container_image import PODMAN, container_image
from tests.support.packages import manifest_of, mean_classifier
from transport.range_reader import read_topic

pytestmark = [pytest.mark.broker, pytest.mark.long, pytest.mark.alone]  # one build, one process
RUN = [*PODMAN, "run", "--rm", "--read-only", "--cap-drop", "all", "--network", "host", "--memory", "1g"]
RUN += ["--security-opt", "no-new-privileges", "--tmpfs", "/tmp:rw,mode=1777"]
PACKAGES = "actuators infra models monitoring operations producers replay schemas stream_processors transport"

INSTALLED = f"""
import importlib, os, pkgutil
# Programs, and what makes the shipped models.
SKIPPED = ("models.trial_child", "models.training.elpv", "models.training.backbone")
for package in "{PACKAGES}".split():
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not found.name.startswith(SKIPPED):
            importlib.import_module(found.name)
for tool in "pytest mypy ruff moto hypothesis hatchling selenium elpv_dataset torch pip".split():
    assert importlib.util.find_spec(tool) is None, tool
assert os.getuid() == os.getgid() == 10001
for folder in ("/", "/opt/inspection", os.path.dirname(importlib.import_module("models").__file__)):
    try:
        open(folder + "/written", "w")
    except OSError:
        continue
    raise AssertionError(folder)
"""
HELP = """
from typer.testing import CliRunner
from infra.cli.commands import COMMANDS, load
from infra.cli.root import app
paths = [[]]
for name in COMMANDS:
    paths.append([name])
    paths += [[name, each] for each in getattr(load(name), "commands", {})]
for path in paths:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0 and "Usage: " in done.output, (path, done.output)
print(len(paths))
"""
CHILDREN = """
import sys, time
from pathlib import Path
from models import default_model_path, load_model
from schemas.settings import KafkaSettings
from stream_processors.worker.trials import Trials
from transport.batch_trials.child import BatchChild

servers, topic, partition = sys.argv[1], sys.argv[2], int(sys.argv[3])
kafka = KafkaSettings(servers)
child = BatchChild(kafka, time.monotonic() + 60)
report = child.read(topic, partition, 0)
child.end()
assert report.killed is None and report.messages, report
trials = Trials(kafka, default_model_path())
verdict = trials.try_out(report.messages[0].value())
trials.close()
assert verdict.has_run and verdict.killed is None and verdict.frame is not None, verdict
assert load_model(Path("/model")).name == "tiny"  # a model that is new here is loaded in a child first
"""


@pytest.fixture(scope="module")
def image(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with container_image(repository, tmp_path_factory.mktemp("image")) as built:
        yield built


@pytest.fixture
def volume() -> Iterator[str]:
    """A volume for /state, as the services have."""
    name = f"inspection-test-{uuid.uuid4().hex[:12]}"
    subprocess.run([*PODMAN, "volume", "create", name], check=True, capture_output=True)
    yield f"{name}:/state"
    subprocess.run([*PODMAN, "volume", "rm", name], check=True, capture_output=True)


def run(image: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *options, image, *arguments], capture_output=True, text=True, check=False, timeout=180)


def python(image: str, code: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return run(image, "-c", code, *arguments, options=("--entrypoint", "python3", *options))


def test_it_has_all_packages_and_no_tools_and_writes_nowhere(image: str) -> None:
    done = python(image, INSTALLED)
    assert done.returncode == 0, done.stderr


def test_each_command_shows_its_help(image: str) -> None:
    done = python(image, HELP)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > len(COMMANDS)


def test_its_worker_answers_frames_and_the_past_is_read(
    image: str, volume: str, line: KafkaSettings, tmp_path: Path
) -> None:
    options = ("-v", volume, "-e", f"INSPECTION_BOOTSTRAP_SERVERS={line.bootstrap_servers}")
    options += ("-e", f"INSPECTION_PREFIX={line.prefix}")
    log = tmp_path / "worker.log"
    name = f"worker-{line.prefix}"
    with log.open("w") as out:
        worker = subprocess.Popen(
            [*RUN, *options, "--name", name, image, "worker", "--group", line.prefix], stdout=out, stderr=out
        )
    try:
        wait_for(lambda: "ready: reading" in log.read_text(), log)
        produced = run(image, "produce", "--camera", "synthetic", "--frames", "20", "--json", options=options)
        assert produced.returncode == 0, produced.stderr
        # The command reads the topics in a child process.
        audit = ("audit", "--last", "1h", "--grace", "0s", "--json")
        wait_for(lambda: run(image, *audit, options=options).returncode == 0, log)
        total = json.loads(run(image, *audit, options=options).stdout)["total"]
        assert (total["captured"], total["decided"], total["unaccounted"]) == (20, 20, 0)
        replayed = run(image, "replay", "--last", "1h", options=options)
        assert replayed.returncode == 0, replayed.stderr
        assert "every one of 20 comparable decisions is reproduced" in replayed.stdout
        children(image, line, tmp_path, options)
    finally:
        began_s = time.monotonic()
        subprocess.run([*PODMAN, "stop", "--time", "20", name], check=False, capture_output=True)
        status = worker.wait(30)
    assert status == 0, log.read_text()
    assert time.monotonic() - began_s < 20
    assert "WARNING" not in log.read_text()


def children(image: str, line: KafkaSettings, folder: Path, options: tuple[str, ...]) -> None:
    """Have the image start the child processes that read in place of their parents."""
    model = mean_classifier()
    package = folder / "model"
    package.mkdir()
    (package / "model.onnx").write_bytes(model)
    (package / "manifest.yaml").write_text(json.dumps(manifest_of(model)))
    for path in (package, *package.iterdir()):
        path.chmod(0o755)
    [partition] = {message.partition for message in read_topic(line, line.frames)}
    done = python(
        image, CHILDREN, line.bootstrap_servers, line.frames, str(partition),
        options=(*options, "-v", f"{package}:/model:ro"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_it_stops_at_once_while_it_starts(image: str) -> None:
    name = f"start-{uuid.uuid4().hex[:12]}"
    # No broker answers: the command waits, and does not handle signals yet.
    command = [*RUN, "--name", name, "-e", "INSPECTION_BOOTSTRAP_SERVERS=127.0.0.1:1", image, "worker"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as worker:
        time.sleep(2.0)
        began_s = time.monotonic()
        subprocess.run([*PODMAN, "stop", "--time", "20", name], check=True, capture_output=True)
        assert worker.wait(30) == 143
        assert time.monotonic() - began_s < 10


def wait_for(is_done: object, log: Path) -> None:
    deadline_s = time.monotonic() + 90
    while not is_done():  # type: ignore[operator]
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.2)
