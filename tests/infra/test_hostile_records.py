"""Records with hostile names and impossible numbers: no command fails, and nothing acts on the terminal."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.cli.root import main
from schemas import Action, EpisodeState, KafkaSettings, SignalChange
from schemas.codec import encode
from schemas.text import file_text, shown
from tests.support.records import DEAD_LETTER, DECISION, DRIFT_EVENT, FRAME, LABEL

#: Title of the window, clear screen, colour, then a fake good state; C1 forms; bidi; line ends; no width.
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[32mno fault; the gate runs\x9b2J\u202e\u2066\u200b\x7f\r\n\u2028\x85OK"
TIMES_US = [2**62, -(2**62), -(2**63), 2**63 - 1, 253_402_300_800_000_000, FRAME.captured_at_us]
#: Characters that an output may have besides visible ones.
ALLOWED = "\n"


def records(kafka: KafkaSettings) -> list[tuple[str, bytes, bytes | None]]:
    """Return topic, value and key of hostile records."""
    found: list[tuple[str, bytes, bytes | None]] = []
    names = {"line": HOSTILE, "station": f"s{HOSTILE}", "camera_id": f"c{HOSTILE}"}
    for number, at_us in enumerate(TIMES_US):
        one = f"{HOSTILE}.{number}"
        frame = dataclasses.replace(
            FRAME, **names, frame_id=one, part_id=one, lot=HOSTILE, captured_at_us=at_us, started_at_us=at_us,
            sequence=number, deadline_ms=2**31 - 1, attributes={HOSTILE: HOSTILE},
        )  # fmt: skip
        decision = dataclasses.replace(
            DECISION, **names, frame_id=one, decision_id=one, part_id=one, lot=HOSTILE, reason=HOSTILE,
            score=[math.nan, math.inf, -math.inf, 1e300, 0.5, 0.5][number], labels={HOSTILE: math.nan},
            model_name=HOSTILE, model_version=HOSTILE, recipe_id=HOSTILE, recipe_revision=HOSTILE,
            captured_at_us=at_us, received_at_us=at_us, decided_at_us=at_us, deadline_at_us=at_us,
            durations_ms={HOSTILE: math.inf}, signals={HOSTILE: math.nan}, sequence=number, started_at_us=at_us,
            action=Action.REVIEW, attributes={HOSTILE: HOSTILE}, source_topic=kafka.frames, source_offset=number,
        )  # fmt: skip
        letter = dataclasses.replace(
            DEAD_LETTER, kind=HOSTILE, reason=HOSTILE, worker=HOSTILE, frame_id=one, failed_at_us=at_us,
            source_topic=HOSTILE, headers={HOSTILE: HOSTILE.encode()},
        )  # fmt: skip
        label = dataclasses.replace(
            LABEL, **names, label_id=one, frame_id=one if number else None, part_id=one, defect=HOSTILE, note=HOSTILE,
            labelled_by=HOSTILE, sampled_because=HOSTILE, labelled_at_us=at_us,
        )  # fmt: skip
        event = dataclasses.replace(
            DRIFT_EVENT, **names, event_id=one, episode_id=f"e{number}", reason=HOSTILE, cause=HOSTILE, product=HOSTILE,
            signals=(SignalChange(HOSTILE, HOSTILE, math.nan, math.inf, -math.inf),), started_frame_id=one,
            detected_frame_id=one, frames_before=(one,), frames_after=(one,), started_at_us=at_us, detected_at_us=at_us,
            emitted_at_us=at_us, state=EpisodeState.OPENED, model_name=HOSTILE, model_version=HOSTILE,
        )  # fmt: skip
        found += [
            (kafka.frames, encode(frame), frame.key), (kafka.decisions, encode(decision), decision.key),
            (kafka.dead_letters, encode(letter), b"x"), (kafka.drift, encode(event), b"x"),
        ]  # fmt: skip
        if number in (0, 5):
            found.append((kafka.labels, encode(label), b"x"))
    return found


def at(kafka: KafkaSettings) -> list[str]:
    return ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]


def _no_json(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def run(patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command as its console script does."""
    patch.setattr(sys, "argv", ["inspection", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    read = capsys.readouterr()
    for text in (read.out, read.err):
        bad = {character for character in text if not character.isprintable() and character not in ALLOWED}
        assert not bad, f"{arguments[0]} prints {bad}"
        assert not any(line.startswith("OK") for line in text.splitlines()), "a name has made a line of its own"
    return int(ended.value.code or 0), read.out, read.err


@pytest.mark.long
@pytest.mark.broker
def test_no_record_stops_a_command_or_acts_on_the_terminal(
    line: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    for topic, value, key in records(line):
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(20) == 0
    store = ["--image-store", str(tmp_path / "images")]
    csv_file, rows, html = tmp_path / "look.csv", tmp_path / "rows.csv", tmp_path / "report.html"
    archive, folder = tmp_path / "archive", tmp_path / "folder"
    commands: list[tuple[list[str], str]] = [
        (["review", "--limit", "100"], ""),
        (["review", "--limit", "100", "--csv"], "no time"),
        (["dead-letters", "list"], "no time"),
        (["dead-letters", "show", "0-0", *store], "no time"),
        (["dead-letters", "retry", "--dry-run", *store], ""),
        (["audit"], ""),
        (["audit", "--metrics", str(tmp_path / "audit.prom")], ""),
        (["quality"], ""),
        *((["quality", "--by", by], "") for by in ("lot", "class", "model")),
        (["drift", "list"], "no time"),
        (["drift", "show", "e0"], "no time"),
        (["analyse", "--html", str(html)], "no time"),
        (["export", "rows", str(rows)], ""),
        (["export", "folder", str(folder), *store], ""),
        (["replay", *store], ""),
        (["topics", "show"], ""),
        (["archive", "--to", str(archive), "--once", *store], ""),
        (["archive", "status", str(archive)], ""),
        (["drift", "ack", "e1", "--note", f"looked {HOSTILE}", "--by", HOSTILE], ""),
    ]
    for arguments, expected in commands:
        code, out, errors = run(monkeypatch, capsys, *arguments, *at(line))
        assert code in (0, 1), (arguments, errors)
        assert code == 0 or errors.startswith("error: ") or arguments[0] in ("replay",), (arguments, errors)
        assert expected in out, arguments
    code, _, errors = run(monkeypatch, capsys, "archive", "verify", str(archive))
    assert code == 0, errors
    for path in (rows, html):
        assert "\x1b" not in path.read_text(encoding="utf-8"), path
    for arguments in (
        ["review"], ["dead-letters", "list"], ["dead-letters", "show", "0-0", *store], ["audit"], ["quality"],
        ["drift", "list"], ["drift", "show", "e0"], ["analyse"],
    ):  # fmt: skip
        _, out, _ = run(monkeypatch, capsys, *arguments, "--json", *at(line))
        json.loads(out, parse_constant=_no_json)
    csv_file.write_text(
        f"frame_id,truth,labelled_at\n{HOSTILE!r},{HOSTILE!r},\nx\x1b[2J,good,\x1b[2J\n", encoding="utf-8"
    )
    code, _, errors = run(monkeypatch, capsys, "label", "--csv", str(csv_file), *at(line))
    assert code == 1
    assert "\\x1b[2J" in errors


def test_a_gate_in_fault_cannot_pass_for_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gate.lock").touch()
    for since_us in (2**62, 10**30, 0):
        fault = {"fault_id": HOSTILE, "since_us": since_us, "reason": HOSTILE, "in_a_row": 3}
        reset = {"fault_id": HOSTILE, "who": HOSTILE, "note": HOSTILE, "at_us": since_us}
        content = {"state": "FAULT", "fault": fault, "last_reset": reset}
        (tmp_path / "gate.fault.json").write_text(json.dumps(content), encoding="utf-8")
        code, out, errors = run(monkeypatch, capsys, "gate", "status", "--state-dir", str(tmp_path))
        assert code == 1, errors
        assert out.startswith(f"FAULT since {'1970-01-01T00:00:00Z' if since_us == 0 else 'no time'}: \\x1b]0;owned")
        assert len(out.splitlines()) == 2
    (tmp_path / "gate.fault.json").write_text('{"state": "FAULT", "fault": {"since_us": 1e999}}', encoding="utf-8")
    assert "does not say whether" in run(monkeypatch, capsys, "gate", "status", "--state-dir", str(tmp_path))[1]


def test_errors_and_unexpected_ones_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = run(monkeypatch, capsys, "label", "--csv", str(tmp_path / "a\x1b[2J\nOK"))
    assert code == 1
    assert len(errors.splitlines()) == 2
    assert errors.startswith("error: ")
    from transport.logs import _print_exception

    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        _print_exception(ValueError, error, error.__traceback__)
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert "\\x1b[2J" in printed
    assert all(row.startswith("    ") for row in printed.splitlines())


PRINTERS = {"print", "secho"}


def _calls(path: Path) -> list[str]:
    """Return calls that print, except those of `infra.cli.shared.terminal_text`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node.func)
        if text in PRINTERS or text in ("typer.echo", "click.echo", "typer.secho", "sys.stdout.write", "json.dumps"):
            found.append(f"{path.name}:{node.lineno}: {text}")
    return found


def test_commands_print_through_one_echo(repository: Path) -> None:
    paths = [path for path in (repository / "infra/cli").rglob("*.py") if path.name != "terminal_text.py"]
    assert len(paths) > 30
    assert [call for path in paths for call in _calls(path)] == []


def test_programs_set_up_one_formatter(repository: Path) -> None:
    packages = (
        "schemas",
        "transport",
        "models",
        "monitoring",
        "producers",
        "stream_processors",
        "actuators",
        "replay",
        "infra",
    )
    others = [
        str(path.relative_to(repository))
        for package in packages
        for path in (repository / package).rglob("*.py")
        if "training" not in path.parts and path.name != "logs.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("basicConfig", "StreamHandler", "setFormatter")
    ]
    assert others == []


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J\x85", r"\x9b2J\x85"),
        ("a\nb\r\t\x7f", r"a\nb\r\t\x7f"),
        ("\u202e\u2066\u200b\u2028\ufeff", r"\u202e\u2066\u200b\u2028\ufeff"),
        ("gr\udcfcn.png", r"gr\xfcn.png"),
        ("\ud800", r"\ud800"),
        ("Prüfer 検査 \\x1b", "Prüfer 検査 \\x1b"),
    ],
)
def test_what_is_shown(text: str, seen: str) -> None:
    assert shown(text) == seen
    assert shown(shown(text)) == seen


def test_file_names_fit_every_encoder() -> None:
    for text in ("gr\udcfcn.png", "\ud800", "grün.png"):
        file_text(text).encode("utf-8")
    assert file_text("grün.png") == "grün.png"
