"""The tutorial: its files are written, its commands run in a real shell with a Kafka of its own, its output is real.

The model is exported with PyTorch where it is installed. Elsewhere the same graph is built with onnx.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.broker import LocalBroker

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
#: Named files, and consoles, in order.
BLOCKS = re.findall(r"(?:^`([\w./]+)`:\n\n)?^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
#: Time for one command.
PATIENCE_S = 120.0
#: Tries of a command that reads what other programs are still writing.
TRIES = 5
#: Those commands.
READS = ("inspection audit", "inspection replay")

#: Graph of the tutorial's network, for a machine without PyTorch.
WITH_ONNX = """
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

nodes = [
    helper.make_node("AveragePool", ["image"], ["fields"], kernel_shape=[4, 4], strides=[4, 4]),
    helper.make_node("ReduceMax", ["fields"], ["brightest"], axes=[2, 3], keepdims=0),
    helper.make_node("Sub", ["brightest", "middle"], ["above"]),
    helper.make_node("Div", ["above", "width"], ["logit"]),
]
graph = helper.make_graph(
    nodes,
    "brightest field",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 96, 128])],
    [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1])],
    [numpy_helper.from_array(np.float32([value]), name) for name, value in (("middle", 150), ("width", 20))],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.save(model, "my_model/model.onnx")
"""

#: Output that differs from run to run -> word that replaces it.
VARIABLE = {
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[,.]?\d*Z?": "TIME",
    r"127\.0\.0\.1:\d+": "ADDRESS",
    r"process \d+": "PROCESS",
    r"\d+\.\d+ ms": "MS",
    r"in \d+\.\d+s": "in S",
    r"\b[0-9a-f]{8}\b": "HASH",
    r"[ \t]+$": "",
}


def stable(text: str) -> list[str]:
    """Return the lines of an output, with what differs from run to run replaced."""
    for pattern, word in VARIABLE.items():
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return [line for line in text.splitlines() if line]


def fits(expected: list[str], actual: list[str]) -> bool:
    """Return True if the actual lines are the expected ones; a line ``...`` stands for any number of lines."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + "\n" for line in expected)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)) is not None


def commands(console: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a console, each with the lines of its output."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, stable(output)


class Shell:
    """Shell of a reader: a bash that lives through the tutorial, in an empty folder, with jobs."""

    def __init__(self, folder: Path, data_dir: Path) -> None:
        programs = folder.parent / "programs"
        programs.mkdir()
        # Kafka runs on a free port and in a folder of the test, not on those of another Kafka of this user.
        (programs / "inspection").write_text(
            "#!/bin/bash\n"
            'case "$1 $2" in "broker start") set -- "$@" --port 0 ;; esac\n'
            f'exec {Path(sys.executable).parent}/inspection "$@"\n',
            encoding="utf-8",
        )
        (programs / "inspection").chmod(0o700)
        environment = {name: text for name, text in os.environ.items() if not name.startswith("INSPECTION_")}
        environment |= {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_DATA_HOME": str(data_dir),
            "INSPECTION_STATE_DIR": str(folder.parent / "state"),
            "INSPECTION_SPOOL_DIR": str(folder.parent / "spool"),
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        }
        self._bash = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.run("set -m")  # jobs, as in an interactive shell

    def run(self, command: str) -> str:
        """Run a command, and return its output and the messages of the shell."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{command}\necho; echo =END=\n")
        self._bash.stdin.flush()
        timer = threading.Timer(PATIENCE_S, self._bash.kill)
        timer.start()
        lines = []
        for line in self._bash.stdout:
            if line == "=END=\n":
                break
            lines.append(line)
        else:
            pytest.fail(f"{command} takes longer than {PATIENCE_S:g} s, or the shell ended: {''.join(lines)}")
        timer.cancel()
        return "".join(lines)[:-1]

    def close(self) -> None:
        """End the jobs and the shell."""
        assert self._bash.stdin is not None
        if self._bash.poll() is None:
            self._bash.stdin.write("kill -9 $(jobs -p) 2> /dev/null; exit\n")
            self._bash.stdin.flush()
        self._bash.communicate(timeout=20)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "my_line").mkdir()
    made = Shell(tmp_path / "my_line", tmp_path / "kafka")
    yield made
    made.close()
    LocalBroker(tmp_path / "kafka" / "streaming-inspection" / "broker").stop()


@pytest.mark.broker
@pytest.mark.alone
@pytest.mark.long
def test_a_reader_follows_the_tutorial(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "my_line"
    for name, language, text in BLOCKS:
        if language != "console":
            if name == "export_my_model.py" and importlib.util.find_spec("torch") is None:
                text = WITH_ONNX
            (folder / name).write_text(text, encoding="utf-8")
            continue
        for command, expected in commands(text):
            output = shell.run(command)
            for _ in range(TRIES if any(each in command for each in READS) else 0):
                if fits(expected, stable(output)):
                    break
                output = shell.run(command)
            assert fits(expected, stable(output)), f"$ {command}\n{output}\nexpected\n" + "\n".join(expected)
            if command == "inspection broker start":
                address = re.search(r"127\.0\.0\.1:\d+", output)
                assert address is not None
                shell.run(f"export INSPECTION_BOOTSTRAP_SERVERS={address[0]}")


def test_every_block_runs() -> None:
    assert len(BLOCKS) == TEXT.count("```") / 2
    assert all(name or language == "console" for name, language, _ in BLOCKS)
    camera = next(text for name, _, text in BLOCKS if name == "my_camera.py")
    body = [line for line in camera.splitlines() if line.strip()]
    assert len(body) <= 10


@pytest.mark.parametrize(
    ("expected", "actual", "result"),
    [
        ("a\n...\nb", "a\nb", True),
        ("a\n...\nb", "a\nx\ny\nb", True),
        ("a", "a\nb", False),
        ("a\nb", "a", False),
        ("1.2 ms, 3 of 4", "71.4 ms, 3 of 4", True),
        ("1.2 ms, 3 of 4", "1.2 ms, 4 of 4", False),
    ],
)
def test_the_comparison(expected: str, actual: str, result: bool) -> None:
    assert fits(stable(expected), stable(actual)) is result
