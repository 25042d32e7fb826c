"""Every command on the past gives the same answer from topics, from an archive, and from both."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from infra.broker import LocalBroker
from infra.cli.commands import COMMANDS, load
from infra.cli.root import app
from models.datasets.elpv import load_cells
from operations import make_label
from operations.dead_letters import RETRIED
from replay.archive import ArchiveSink, ArchiveStore, SinkOptions
from schemas import Action, Codec, DeadLetter, Encoding, EpisodeState, Frame, KafkaSettings
from schemas.letters import cut
from schemas.topics import DRIFT_STATE, TOPICS
from tests.support.past import EPOCH_US, make_decision
from tests.support.past import make_frame as make_past_frame
from tests.support.records import DRIFT_EVENT
from transport.stored_message import MessagePosition
from transport.topic_ranges import watermarks

FRAMES = 24
EPISODE = "e1"
MODEL = "models/zoo/elpv_cells"
NOWHERE = "127.0.0.1:1"


def make_frame(number: int, image: bytes, **changes: Any) -> Frame:
    """Frame of one of two cameras; number 6 is missing."""
    sequence = number // 2 + (number >= 12)
    return make_past_frame(
        sequence, ("press/top", "press/side")[number % 2], image=image, encoding=Encoding.PNG, width=300, height=300,
        captured_at_us=EPOCH_US + number * 1_000_000, sha256=hashlib.sha256(image).hexdigest(), **changes,
    )  # fmt: skip


def publish(kafka: KafkaSettings, topic: str, rows: list[tuple[Any, int]]) -> list[MessagePosition]:
    """Publish records, each with its time, in order; return their places."""
    places: list[MessagePosition] = []

    def delivered(error: object, message: Any) -> None:
        assert error is None
        places.append(MessagePosition(message.topic(), message.partition(), message.offset()))

    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "murmur2_random", "log_level": 0,
         "max.in.flight.requests.per.connection": 1}
    )  # fmt: skip
    for record, at_us in rows:
        is_bytes = isinstance(record, bytes)
        value, key = (record, "press/top") if is_bytes else (Codec().encode(record), getattr(record, "key", b"k"))
        producer.produce(topic, value, key, timestamp=at_us // 1000, on_delivery=delivered)
        assert producer.flush(20) == 0
    return places


def publish_line(kafka: KafkaSettings) -> None:
    """Publish frames out of order, and all that a line and its people have to say about them."""
    chance = random.Random(5)
    noise = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (700, 700), np.uint8))[1].tobytes()
    images = [cell.path.read_bytes() for cell in load_cells()[:: 2600 // FRAMES]][:FRAMES]
    images[20] = noise
    frames = [make_frame(number, image) for number, image in enumerate(images)]
    times_us = [EPOCH_US + int(1e6 * (number + chance.uniform(0, 6))) // 1000 * 1000 for number in range(FRAMES)]
    places = publish(kafka, kafka.frames, list(zip(frames, times_us, strict=True)))
    [garbage] = publish(kafka, kafka.frames, [(b"garbage", times_us[-1])])
    oversized = make_frame(FRAMES, images[0], attributes={f"k{number}": "x" * 10_000 for number in range(20)})
    [place] = publish(kafka, kafka.frames, [(oversized, times_us[-1])])
    actions = [Action.ACCEPT, Action.ACCEPT, Action.REJECT, Action.REVIEW]
    decisions = [
        (make_decision(frame, place, actions[number % 4], score=0.45, model_stage="champion"), times_us[number])
        for number, (frame, place) in enumerate(zip(frames, places, strict=True))
        if number not in (20, 21)
    ]
    refused = make_decision(oversized, place, Action.REJECT, result_state="FAILED", score=None)
    publish(kafka, kafka.decisions, [*decisions, (refused, times_us[-1]), decisions[3], (b"garbage", times_us[-1])])
    labels = [
        make_label(
            "bad" if number % 5 == 0 else "good", frame_id=frame.frame_id, station="press", camera_id=frame.camera_id,
            labelled_by="eva", labelled_at_us=EPOCH_US + number, sampled_because="random" if number % 2 else "reject",
        )
        for number, frame in enumerate(frames[:16])
    ]  # fmt: skip
    publish(kafka, kafka.labels, [(label, EPOCH_US + 60_000_000) for label in labels])
    event = dataclasses.replace(
        DRIFT_EVENT, episode_id=EPISODE, event_id="1", station="press", camera_id="top", started_at_us=EPOCH_US,
        detected_at_us=EPOCH_US + 1, emitted_at_us=EPOCH_US + 1, state=EpisodeState.OPENED, is_simulated=False,
        closed_at_us=None, closed_because="", acknowledged_by=None, note="",
    )  # fmt: skip
    taken = dataclasses.replace(
        event, event_id="2", state=EpisodeState.ACKNOWLEDGED, acknowledged_by="eva", note="lamp",
        emitted_at_us=EPOCH_US + 9,
    )  # fmt: skip
    publish(kafka, kafka.drift, [(event, EPOCH_US), (taken, EPOCH_US + 9_000), (b"garbage", EPOCH_US + 9_000)])
    letter = DeadLetter(
        source_topic=kafka.frames, source_partition=places[20].partition, source_offset=places[20].offset,
        kind="unknown-schema", reason="of a newer version", frame_id=frames[20].frame_id, failed_at_us=times_us[20],
        worker="w", key=b"press/top", value=Codec().encode(frames[20]),
    )  # fmt: skip
    other = dataclasses.replace(
        letter, source_partition=garbage.partition, source_offset=garbage.offset, kind="truncated", frame_id=None,
        value=b"garbage",
    )  # fmt: skip
    mark = dataclasses.replace(other, kind=RETRIED, reason="0-1", value=None)
    publish(kafka, kafka.dead_letters, [(one, times_us[20]) for one in (cut(letter), other, mark)])


def delete(kafka: KafkaSettings, *, share: int) -> None:
    """Delete one of ``share`` parts of each partition of the archived topics, from its begin on."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    wanted = [
        TopicPartition(name, number, high // share)
        for name in (topic.name(kafka.prefix) for topic in TOPICS if topic is not DRIFT_STATE)
        for number, (_, high) in watermarks(kafka, name).items()
        if high // share
    ]
    for answer in admin.delete_records(wanted).values():
        answer.result(20)


@pytest.fixture
def answers(broker: LocalBroker, tmp_path: Path, unique: str) -> dict[str, dict[str, tuple[int, Any]]]:
    """Answers of all commands, by place of the past and command."""
    kafka = KafkaSettings(broker.bootstrap_servers, unique)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    wanted = [NewTopic(each.name(kafka.prefix), each.partitions, 1, config=each.config) for each in TOPICS]
    for created in admin.create_topics(wanted).values():
        created.result(20)
    publish_line(kafka)
    folder = tmp_path
    here = ["--bootstrap-servers", kafka.bootstrap_servers, "--prefix", kafka.prefix]
    archive = ["--archive", str(folder / "archive")]
    found = {"topics": dict(ask(here, folder))}
    ArchiveSink(kafka, ArchiveStore(str(folder / "archive")), SinkOptions(memory_bytes=300_000)).run_once(
        threading.Event()
    )
    delete(kafka, share=2)
    found["both"] = dict(ask([*here, *archive], folder))
    delete(kafka, share=1)
    found["archive and empty topics"] = dict(ask([*here, *archive], folder))
    ended = ["--bootstrap-servers", NOWHERE, "--prefix", kafka.prefix, *archive, "--archive-only"]
    found["archive alone"] = dict(ask(ended, folder))
    return found


def ranged(begin_s: int, end_s: int) -> list[str]:
    begin, end = (datetime.fromtimestamp(EPOCH_US / 1e6 + after_s, UTC).isoformat() for after_s in (begin_s, end_s))
    return ["--from", begin, "--to", end]


QUESTIONS: dict[str, list[str]] = {
    "audit": ["audit", "--json"],
    "audit of a range": ["audit", "--json", *ranged(5, 14)],
    "audit around a range": ["audit", "--json", *ranged(8, 20), "--look-around", "4s"],
    "audit of a camera": ["audit", "--json", "--camera", "press/side", *ranged(0, 9)],
    "quality": ["quality", "--json"],
    "quality of a range": ["quality", "--json", "--by", "lot", *ranged(5, 14)],
    "review": ["review", "--json", "--random-share", "0.5"],
    "review of a range": ["review", "--csv", "--random-share", "0.5", *ranged(9, 22)],
    "dead-letters list": ["dead-letters", "list", "--json"],
    "dead-letters show": ["dead-letters", "show", "0-0", "--json"],
    "dead-letters retry": ["dead-letters", "retry", "--dry-run", "--json"],
    "drift list": ["drift", "list", "--json"],
    "drift show": ["drift", "show", EPISODE, "--json"],
    "replay": ["replay", "--json", *ranged(5, 14)],
    "analyse": ["analyse", "--json", *ranged(0, 30)],
    "compare": ["compare", "--json", "--challenger", MODEL, *ranged(0, 30)],
    "export rows": ["export", "rows", "FILE", "--json"],
}


def ask(options: list[str], folder: Path) -> Iterator[tuple[str, tuple[int, Any]]]:
    """Yield the exit status and the answer of each command."""
    for name, question in QUESTIONS.items():
        words = list(question)
        file = folder / "rows.csv"
        if "FILE" in words:
            file.unlink(missing_ok=True)
            words[words.index("FILE")] = str(file)
        if name == "dead-letters retry" and "--archive-only" in options:
            continue
        result = CliRunner().invoke(app, [*words, *options])
        assert result.stdout, (name, result.exception, result.stderr)
        answer = result.stdout if "--csv" in words else json.loads(result.stdout)
        yield name, (result.exit_code, [answer, file.read_text()] if "FILE" in question else without_times(answer))


def without_times(answer: Any) -> Any:
    """Return an answer without what a run of the command measures of itself."""
    if isinstance(answer, dict):
        return {
            name: without_times(value) for name, value in answer.items() if name not in ("seconds", "frames_per_second")
        }
    return [without_times(value) for value in answer] if isinstance(answer, list) else answer


@pytest.mark.long
@pytest.mark.broker
def test_the_answers_are_the_same_wherever_the_past_is(answers: dict[str, dict[str, tuple[int, Any]]]) -> None:
    """One test, since the answers take long and each process of the suite would ask for them."""
    found = answers["topics"]
    for place in ("both", "archive and empty topics", "archive alone"):
        for name in QUESTIONS:
            if (place, name) == ("archive alone", "dead-letters retry"):
                assert "archive_only" not in {one.name for one in load("dead-letters").commands["retry"].params}
            else:
                assert answers[place][name] == found[name], (place, name)
    cameras = found["audit"][1]["cameras"]
    assert {name: one["gaps"] for name, one in cameras.items()} == {"press/side": 1, "press/top": 1}
    assert found["audit"][1]["unreadable_decisions"] == 1
    assert found["quality"][1]["figures"][0]["labelled"] == 8
    assert found["quality"][1]["unreadable"] == 1
    assert len(found["review"][1]["frames"]) > 3
    assert [row["retried"] for row in found["dead-letters list"][1]["dead_letters"]] == [False, True]
    # The whole message of a cut letter came from the frames topic, or from the archive.
    assert found["dead-letters show"][1]["would_fail"] is None
    assert found["dead-letters retry"][1]["dead_letters"][0]["retried"]
    assert found["drift list"][1]["unreadable"] == 1
    assert [len(found[name][1]) > 3 for name in ("replay", "analyse", "compare")] == [True] * 3
    assert found["export rows"][1][1].count("\n") == FRAMES


@pytest.mark.broker
def test_a_topic_that_is_nowhere_is_one_line(line: KafkaSettings, tmp_path: Path) -> None:
    [place] = publish(line, line.frames, [(make_frame(0, b"x"), EPOCH_US)])
    decision = make_decision(make_frame(0, b"x"), place)
    publish(line, line.decisions, [(decision, EPOCH_US)])
    ArchiveSink(line, ArchiveStore(str(tmp_path)), SinkOptions()).run_once(threading.Event())
    options = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix, "--archive", str(tmp_path)]
    # The archive has no label yet, so the topic is read.
    label = make_label(
        "bad", frame_id=decision.frame_id, station="press", camera_id="top", labelled_by="eva", labelled_at_us=EPOCH_US
    )
    publish(line, line.labels, [(label, EPOCH_US)])
    assert "1 labelled" in CliRunner().invoke(app, ["quality", *options]).stdout
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    for topic, line_of_error in (
        (line.labels, f"neither the archive nor Kafka has {line.labels}; --archive-only reads the archive without it"),
        (line.frames, f"Kafka has no {line.frames} any more; --archive-only reads what the archive has of it"),
    ):
        for answer in admin.delete_topics([topic]).values():
            answer.result(20)
        result = CliRunner().invoke(app, ["audit" if topic == line.frames else "quality", *options])
        assert str(result.exception) == line_of_error
    found = CliRunner().invoke(app, ["quality", *options, "--archive-only"])
    assert "1 parts, 0 labelled" in found.stdout


def test_the_archive_is_one_option_of_all_these_commands() -> None:
    helps = set()
    for name in ("audit", "quality", "review", "dead-letters", "drift", "replay", "analyse", "compare", "export"):
        assert name in COMMANDS
        command = load(name)
        several = getattr(command, "commands", {name: command})
        for one, found in several.items():
            if (name, one) != ("drift", "ack"):
                helps.add(next(param.help for param in found.params if "--archive" in param.opts))
    assert len(helps) == 1
