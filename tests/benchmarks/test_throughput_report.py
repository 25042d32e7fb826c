"""The report says what was measured: ratios by round, aims met or missed, and who is ahead."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.contenders.table import CONTENDERS, FLASK, LIMIT, OURS, QUIX, Task
from benchmarks.line_topics import Stream, place
from benchmarks.output import write
from benchmarks.saturation import Saturated, window
from benchmarks.throughput_report import Measured, ratio, table

MACHINE = {"cpu": "x", "cores": 2, "memory_gib": 4, "python": "3.12", "load_before": [0.1]}


def run(frames_per_s: float, cpu_ms: float = 4.0) -> Saturated:
    return Saturated(frames_per_s, cpu_ms, broker_cpu_ms=1.0, peak_mib=100.0, frames=600, cores_elsewhere=0.1)


def measured(**runs: list[Saturated]) -> Measured:
    names = {"limit": LIMIT, "ours": OURS, "flask": FLASK, "quix": QUIX, "faust": "plain faust"}
    parts = {"full": {"decode": 1.0, "infer": 2.0}}
    return Measured("small", 30, 1, 2, {names[name]: each for name, each in runs.items()}, parts, {})


def test_ratios_are_of_the_same_round() -> None:
    found = measured(ours=[run(90), run(45)], limit=[run(100), run(50)])
    assert ratio(found, LIMIT, lambda each: each.frames_per_s)[OURS].lowest == pytest.approx(0.9)


@pytest.mark.parametrize(("ours", "said"), [(95.0, "met"), (80.0, "**missed**")])
def test_an_aim_is_met_or_missed(ours: float, said: str) -> None:
    [row] = [
        row for row in table(MACHINE, [measured(ours=[run(ours)], limit=[run(100)])]).splitlines() if "0.9 x" in row
    ]
    assert f"| {said} |" in row


def test_a_peer_that_is_ahead_is_named_without_an_aim_of_its_own() -> None:
    said = table(MACHINE, [measured(ours=[run(90)], faust=[run(100)], quix=[run(10)])])
    assert "| 1 x plain faust | 0.90 (0.90 to 0.90) | **behind** |" in said


def test_the_broker_counts_in_frames_per_cpu_second() -> None:
    assert run(100, cpu_ms=4.0).per_cpu_s == pytest.approx(200)


def test_a_window_without_decisions_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="too few"):
        window([1.0, 2.0], 1.5, 1.9)


def test_few_cameras_are_spread_over_all_partitions() -> None:
    assert [place(camera, 2, 6) for camera in range(2)] == [0, 3]


@pytest.mark.parametrize("name", CONTENDERS)
def test_each_contender_has_commands_that_read_the_task(name: str) -> None:
    task = Task("127.0.0.1:1", Stream("s"), "group", Path("model"), threads=2)
    commands = CONTENDERS[name].commands(task)
    assert all("127.0.0.1:1" in command and "group" in command for command in commands)


def test_everything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("bench", {"a": 1}, "| table |", folder=tmp_path)
    assert (tmp_path / "bench.json").read_text() == '{\n  "a": 1\n}\n' == capsys.readouterr().out
    assert (tmp_path / "bench.md").read_text() == "| table |\n"
