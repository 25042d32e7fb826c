"""The report of what the topics hold: only the frames that it shows are read."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from pyarrow import parquet
from typer.testing import CliRunner

from infra.cli.root import app
from replay.analysis import analyse
from replay.export import frames
from replay.past.source import Source
from replay.report import make_report
from schemas import Decision, Defect, Frame, KafkaSettings
from schemas.codec import encode
from tests.support.past import an_hour_ago_us
from tests.support.reports import BEGIN_US, example
from transport.offset_ranges import total

#: What is older than a topic keeps may be gone before it is read.
NOW_US = an_hour_ago_us()


@pytest.fixture
def published(line: KafkaSettings) -> KafkaSettings:
    """Real cells with their recorded decisions, an hour ago; one of them with a box."""
    producer = Producer({"bootstrap.servers": line.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    one = example(16)
    for number, (stored, judged) in enumerate(zip(one.frames, one.replayed, strict=True)):
        frame, decision = stored.record, judged.recorded
        assert frame is not None
        assert decision is not None
        at_us = frame.captured_at_us - BEGIN_US + NOW_US
        partition, offset = stored.position.partition, stored.position.offset
        decision = replace(
            decision, captured_at_us=at_us, decided_at_us=at_us + 20_000, source_topic=line.frames,
            deadline_at_us=at_us + 800_000,
            defects=(Defect("crack", 0.9, (10.0, 20.0, 30.0, 40.0)),) if number == 0 else (),
        )  # fmt: skip
        assert (decision.source_partition, decision.source_offset) == (partition, offset)
        producer.produce(line.frames, encode(replace(frame, captured_at_us=at_us)), partition=partition,
                         timestamp=at_us // 1000)  # fmt: skip
        producer.produce(line.decisions, encode(decision), partition=partition, timestamp=at_us // 1000)
    assert producer.flush(20) == 0
    return line


@pytest.mark.long
@pytest.mark.broker
def test_a_report_fetches_its_own_pictures(published: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = Source(published)
    table = frames(source, with_labels=False).table()
    assert len(table) == 16
    read: list[tuple[type, int]] = []
    whole = Source.read

    def counted(self, record, ranges, **more):
        read.append((record, total(ranges)))
        return whole(self, record, ranges, **more)

    monkeypatch.setattr(Source, "read", counted)
    gallery = make_report(tmp_path / "r.html", analyse(table), table, source, each=16)
    assert len(gallery.rows) == 16
    cards = [gallery.card(row) for row in gallery.rows]
    assert all(card.picture for card in cards)
    boxes = {str(table["frame_id"][card.row]): card.boxes for card in cards if card.boxes}
    first = example(16).frames[0].record
    assert first is not None
    assert list(boxes) == [first.frame_id]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count('<img class="picture"') == 16

    command = ["analyse", "--bootstrap-servers", published.bootstrap_servers, "--prefix", published.prefix]
    written = ["--html", str(tmp_path / "c.html"), "--rows", str(tmp_path / "rows.parquet")]
    done = CliRunner().invoke(app, [*command, *written, "--camera", "el/left", "--truth-attribute", "type"])
    assert done.exception is None, done.exception
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert page.count('<img class="picture"') == 8
    assert page.count('<img class="heat"') == 8
    assert "Selected: cameras el/left." in page
    assert parquet.read_table(tmp_path / "rows.parquet").num_rows == 8

    read.clear()
    seen: list[tuple[int, int]] = []
    few = make_report(
        tmp_path / "r.html", analyse(table), table, source, each=3, on_progress=lambda *at: seen.append(at)
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert len(few.rows) == 3
    assert [count for record, count in read if record is Frame] == [3]
    assert {record for record, _ in read} == {Frame, Decision}


@pytest.mark.long
@pytest.mark.broker
def test_the_report_of_a_run_says_what_was_reproduced(published: KafkaSettings, tmp_path: Path):
    where = ["--bootstrap-servers", published.bootstrap_servers, "--prefix", published.prefix]
    folder, page = tmp_path / "run", tmp_path / "run.html"
    replayed = CliRunner().invoke(app, ["replay", *where, "--threshold", "0.3", "--out", str(folder)])
    assert folder.exists(), replayed.output
    done = CliRunner().invoke(app, ["analyse", *where, str(folder), "--html", str(page)])
    assert done.exception is None, done.exception
    text = page.read_text(encoding="utf-8")
    facts = dict(re.findall(r'<tr><th scope="row">([^<]+)</th><td class="n">(\d+)</td>', text))
    # The fixture gives one decision a box that the model did not find.
    assert (facts["decisions reproduced"], facts["not reproduced"]) == ("15", "1")
    assert facts["messages that could not be read"] == "0"
    assert "by champion: defects " in text
    assert "Promote champion" not in text, "it did what the line did: there is nothing to compare"
    other = CliRunner().invoke(app, ["analyse", *where, str(folder), "--decider", "champion@0.3", "--html", str(page)])
    assert other.exception is None, other.exception
    assert "Champion and challenger: recorded and champion@0.3" in page.read_text(encoding="utf-8")
