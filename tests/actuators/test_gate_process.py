"""`inspection actuate` killed and started again; its FAULT, and `inspection gate`."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from actuators.belt_file import BeltFile
from schemas import Decision, DriftEvent, DriftType, Frame, KafkaSettings
from schemas.codec import encode
from tests.support.gate_records import make_decision, make_frame, now_us
from tests.support.programs import Programs
from tests.support.records import DRIFT_EVENT
from tests.support.wall_clock import WallClock

# A part whose decision comes later than the belt takes is rejected: a busy machine would decide the outcome.
pytestmark = pytest.mark.alone


class Process:
    """`inspection actuate` in a process of its own, with one state directory and one journal over all its lives."""

    def __init__(self, line: KafkaSettings, programs: Programs) -> None:
        self.line = line
        self.programs = programs
        self.process: subprocess.Popen[bytes] | None = None
        programs.connect("", {"bootstrap.servers": line.bootstrap_servers})
        self._producer = Producer(
            {"bootstrap.servers": line.bootstrap_servers, "linger.ms": 0, "enable.idempotence": True}
        )

    def start(self, *options: str) -> None:
        files = ("--journal", str(self.programs.journal), "--state-dir", str(self.programs.gate_state))
        self.process = self.programs.start("actuate", *files, *options, until="gate ready")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    @property
    def log(self) -> str:
        return self.programs.log("actuate")

    @property
    def acts(self) -> list[dict[str, object]]:
        return self.programs.acts()

    def publish(self, *records: Frame | Decision | DriftEvent) -> None:
        topics = {Frame: self.line.frames, Decision: self.line.decisions, DriftEvent: self.line.drift}
        for record in records:
            self._producer.produce(topics[type(record)], encode(record), key=record.key)
        assert self._producer.flush(10) == 0

    def pass_part(self, part: str, *, decided: bool) -> tuple[object, object]:
        """Send a part past the gate; what was done with it and why."""
        captured = now_us()
        records: list[Frame | Decision] = [make_frame(part, captured_at_us=captured)]
        if decided:
            records.append(make_decision(part, captured_at_us=captured))
        self.publish(*records)
        await_(lambda: any(act["part_key"] == part for act in self.acts))
        (act,) = (act for act in self.acts if act["part_key"] == part)
        return act["action"], act["why"]

    def gate(self, *arguments: str) -> tuple[int, str, str]:
        """`inspection gate ...`: exit status, standard output, standard error."""
        done = self.programs.call("gate", *arguments, "--state-dir", str(self.programs.gate_state))
        return done.returncode, done.stdout, done.stderr


def await_(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


@pytest.fixture
def process(line: KafkaSettings, programs: Programs) -> Process:
    return Process(line, programs)


@pytest.mark.broker
@pytest.mark.faults
def test_killed_in_mid_flow_it_repeats_nothing_and_ignores_history(
    process: Process, fault_row: Callable[..., None]
) -> None:
    options = ["--belt-ms", "1500", "--fault-after", "0"]
    process.start(*options)
    process.pass_part("warm-up", decided=True)
    sent: list[Frame | Decision] = []
    for n in range(60):
        captured = now_us()
        records = [make_frame(f"a{n}", captured_at_us=captured), make_decision(f"a{n}", captured_at_us=captured)]
        process.publish(*records)
        sent += records
        time.sleep(0.05)
    process.kill()  # with about 30 parts on the belt
    before = [str(act["part_key"]) for act in process.acts]
    on_the_belt = {record.part_key for record in sent if isinstance(record, Decision)} - set(before)
    assert len(before) > 15
    assert len(on_the_belt) > 5
    process.start(*options)
    # Everything comes once more, as a producer or a worker may send it after a loss.
    process.publish(*sent)
    process.publish(make_frame("old", captured_at_us=now_us() - 3_000_000))
    process.publish(make_decision("old", captured_at_us=now_us() - 3_000_000))
    assert process.pass_part("afterwards", decided=True) == ("ACCEPT", "decided")
    time.sleep(1.6)
    times = Counter(str(act["part_key"]) for act in process.acts)
    assert set(times.values()) == {1}
    again = [str(act["part_key"]) for act in process.acts[len(before) :]]
    assert not set(again) & set(before)
    assert set(again) <= {*on_the_belt, "afterwards"}
    # What it could still do for a part on the belt, it did at its time and no earlier.
    assert all(float(str(act["lateness_ms"])) >= 0 for act in process.acts)
    fault_row("gate: kill -9 with parts on the belt", frames=60, acted_before=len(before), acted_after=len(again))


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.faults
def test_a_fault_ends_by_a_person_only(process: Process) -> None:
    options = ["--belt-ms", "1200", "--fault-after", "2", "--http-port", "0"]
    process.start(*options)
    assert process.gate("status")[0] == 0
    process.pass_part("warm-up", decided=True)
    for n in range(2):
        assert process.pass_part(f"missing{n}", decided=False) == ("REJECT", "failsafe-missing")
    await_(lambda: "FAULT: 2 parts in a row" in process.log)
    assert process.pass_part("a", decided=True) == ("REJECT", "failsafe-fault")
    assert metric(process, "inspection_gate_fault") == 1
    process.kill()

    status, out, _ = process.gate("status")
    assert (status, out.startswith("FAULT since 20")) == (1, True)
    assert "2 parts in a row without a usable decision; no gate runs" in out
    process.start(*options)
    assert "the gate starts in FAULT" in process.log
    assert process.pass_part("b", decided=True) == ("REJECT", "failsafe-fault")

    status, _, err = process.gate("reset", "--note", "  ")
    assert (status, err.count("\n"), "has a note" in err) == (1, 1, True)
    status, out, err = process.gate("reset", "--note", "worker restarted", "--who", "eva")
    assert status == 0, err
    assert out.startswith("no fault; the gate runs\nlast reset 20")
    assert out.endswith(" by eva: worker restarted\n")
    assert process.pass_part("c", decided=True) == ("ACCEPT", "decided")
    assert metric(process, "inspection_gate_fault") == 0
    assert "reset by eva: worker restarted" in process.log
    status, _, err = process.gate("reset", "--note", "once more")
    assert (status, "not in FAULT" in err) == (1, True)
    process.kill()
    process.start(*options)
    assert process.pass_part("d", decided=True) == ("ACCEPT", "decided")
    status, out, _ = process.gate("status", "--json")
    assert (status, json.loads(out)["state"], json.loads(out)["last_reset"]["who"]) == (0, "RUNNING", "eva")


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.faults
def test_drift_diverts_or_stops_until_a_person_has_looked(process: Process) -> None:
    """The whole way: drift topic, gate, `inspection drift ack`, `inspection gate reset`, restarts in between."""
    options = ["--belt-ms", "1200", "--http-port", "0", "--drift-type", "data", "--on-drift"]
    opened = dataclasses.replace(DRIFT_EVENT, station="s", camera_id="cam")
    process.publish(opened, dataclasses.replace(opened, episode_id="c", drift_type=DriftType.CONCEPT, camera_id="x"))
    process.start(*options, "review")
    process.pass_part("warm-up", decided=True)
    assert process.pass_part("a", decided=True) == ("REVIEW", "drift-review")
    assert process.acts[-1]["episode_id"] == "e"
    assert metric(process, "inspection_gate_drift_connected") == 1
    assert metric(process, "inspection_gate_drift_open_episodes") == 1
    process.kill()

    process.start(*options, "stop")
    await_(lambda: "FAULT: drift on s/cam: brightness fell" in process.log)
    assert process.pass_part("b", decided=True) == ("REJECT", "failsafe-fault")
    process.programs.run("drift", "ack", "e", "--note", "lamp", "--by", "eva")
    await_(lambda: metric(process, "inspection_gate_drift_open_episodes") == 0)
    assert process.pass_part("c", decided=True) == ("REJECT", "failsafe-fault")
    status, out, err = process.gate("reset", "--note", "lamp replaced", "--who", "eva")
    assert (status, out.startswith("no fault; the gate runs")) == (0, True), err
    assert process.pass_part("d", decided=True) == ("ACCEPT", "decided")
    process.kill()
    process.start(*options, "stop")
    assert process.pass_part("f", decided=True) == ("ACCEPT", "decided")


@pytest.mark.alone
@pytest.mark.broker
@pytest.mark.faults
def test_views_texts_without_a_part_a_belt_that_stands_and_a_gate_that_slept(process: Process) -> None:
    process.start("--belt-ms", "1200", "--no-part-id", "NOREAD", "--fault-after", "0", "--http-port", "0")
    process.pass_part("warm-up", decided=True)

    def send(part: str, frame: str, camera: str = "cam") -> None:
        at = {"captured_at_us": now_us(), "frame_id": frame, "camera_id": camera}
        process.publish(make_frame(part, **at), make_decision(part, decision_id=f"id-{frame}", **at))

    def reason(part: str) -> list[object]:
        await_(lambda: any(act["part_key"] == part for act in process.acts))
        return [act["why"] for act in process.acts if act["part_key"] == part]

    repeated = metric(process, "inspection_gate_repeated_triggers_total")
    # Two parts without a part id, and one part that two cameras see: three instructions.
    for number in range(2):
        send("NOREAD", f"f{number}")
    send("seen", "top")
    send("seen", "low", "other")
    assert [reason(part) for part in ("f0", "f1", "seen")] == [["decided"], ["decided"], ["several-views"]]
    assert metric(process, "inspection_gate_repeated_triggers_total") == repeated

    send("on the belt", "f2")
    BeltFile(process.programs.gate_state).stop("eva", "jam")  # what `inspection gate suspend` does, without its start
    await_(lambda: metric(process, "inspection_gate_belt_stopped") == 1)
    time.sleep(1.5)
    assert not any(act["part_key"] == "on the belt" for act in process.acts)
    assert process.gate("resume")[0] == 0
    assert reason("on the belt") == ["belt-stopped"]

    send("passed", "f3")
    time.sleep(0.4)  # the decision is with the gate, and the part 0.8 s before it
    assert process.process is not None
    process.process.send_signal(signal.SIGSTOP)
    time.sleep(2.0)
    process.process.send_signal(signal.SIGCONT)
    assert reason("passed") == ["failsafe-passed"]
    assert metric(process, "inspection_gate_gaps_total") >= 1
    assert process.pass_part("afterwards", decided=True) == ("ACCEPT", "decided")


def metric(process: Process, name: str) -> float:
    found = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.log)
    assert found is not None
    with urllib.request.urlopen(found[0], timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def test_no_gate_there_is_one_line(programs: Programs) -> None:
    for command in (["status"], ["reset", "--note", "looked"]):
        done = programs.call("gate", *command, "--state-dir", str(programs.gate_state))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "no gate has kept its state" in done.stderr


@pytest.mark.broker
def test_a_wall_clock_that_is_set_back_holds_no_part_up(process: Process, tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    process.programs.variables["gate"] = clock.variables
    process.start("--belt-ms", "500", "--fault-after", "0")
    assert process.pass_part("before", decided=True) == ("ACCEPT", "decided")
    time.sleep(1.0)  # the gate waits for a decision
    clock.move(-3600)
    for part in ("first", "second"):
        assert process.pass_part(part, decided=False) == ("REJECT", "failsafe-missing")
    assert process.process is not None
    process.process.terminate()
    assert process.process.wait(20) == 0
