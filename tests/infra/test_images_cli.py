"""`inspection images sweep`: the store forgets what the topic has forgotten."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from typer.testing import CliRunner

from infra.cli.root import app
from producers import CameraIdentity, PublishedFrame
from producers.message import Message
from producers.spool import Spool, SpooledFrame, SpoolOptions, SpoolUnwritable, spool_path
from schemas import KafkaSettings
from schemas.errors import BrokerUnavailable, SettingsError
from transport.image_store import ImageStore, hour_of

HOUR_US = 3_600_000_000


def sweep(store: Path, *arguments: str):
    return CliRunner().invoke(app, ["images", "sweep", "--image-store", str(store), "--json", *arguments])


@pytest.mark.broker
def test_retention_follows_the_topic_on_the_broker(line: KafkaSettings, tmp_path: Path) -> None:
    store = ImageStore(str(tmp_path))
    now_us = time.time_ns() // 1000
    for hours in (0, 5, 30):
        store.put("s", "c", now_us - hours * HOUR_US, "0" * 64, b"x", "png")
    on_line = ["--bootstrap-servers", line.bootstrap_servers, "--prefix", line.prefix]
    # The table has 24 h. A frame may have waited in a spool for two days before that began.
    assert json.loads(sweep(tmp_path, *on_line, "--dry-run").stdout)["hours"] == []
    on_line += ["--spool-days", "0"]
    assert len(json.loads(sweep(tmp_path, *on_line, "--dry-run").stdout)["hours"]) == 1
    admin = AdminClient({"bootstrap.servers": line.bootstrap_servers, "log_level": 0})
    entry = ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, line.frames, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(20)
    # The controller has it by now; the broker that describes it learns of it a little later.
    asked, until = ConfigResource(ResourceType.TOPIC, line.frames), time.monotonic() + 30
    while admin.describe_configs([asked])[asked].result(20)["retention.ms"].value != "7200000":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert len(json.loads(sweep(tmp_path, *on_line).stdout)["hours"]) == 2
    assert len(list(tmp_path.rglob("*.png"))) == 1
    missing = sweep(tmp_path, "--bootstrap-servers", line.bootstrap_servers, "--prefix", "nothing")
    assert isinstance(missing.exception, SettingsError)


def test_hours_of_frames_that_wait_in_a_spool_stay(tmp_path: Path) -> None:
    store = ImageStore(str(tmp_path / "images"))
    now_us = time.time_ns() // 1000
    options = SpoolOptions(sync="normal")
    camera = CameraIdentity("line-1", "press", "top")
    with closing(Spool(spool_path(tmp_path / "spool", "plant7", camera), options)) as spool:
        for number, days in enumerate((9, 7, 0)):
            captured_at_us = now_us - days * 24 * HOUR_US
            store.put("press", "top", captured_at_us, "0" * 64, b"x", "png")
            if days == 7:
                about = PublishedFrame("press.top.1.1", camera, number, captured_at_us, 4, 3, 9, {})
                spool.append(SpooledFrame.of(Message(about, 1, b"avro", taken_s=None)))
        spool.append(SpooledFrame(1, 99, "damaged", b"avro"))
        waiting = hour_of(now_us - 7 * 24 * HOUR_US)
        arguments = ["--older-than", "5d", "--spool-dir", str(tmp_path / "spool")]
        swept = json.loads(sweep(tmp_path / "images", *arguments).stdout)
        assert swept["hours"] == [hour_of(now_us - 9 * 24 * HOUR_US)]
        assert swept["waiting_hours"] == [waiting]
        assert len(list(tmp_path.rglob("*.png"))) == 2
        spool.delete([(1, 1)], drained=True)
    assert json.loads(sweep(tmp_path / "images", *arguments).stdout)["hours"] == [waiting]
    (tmp_path / "spool" / "plant7" / "press.top.spool").write_bytes(b"no database at all" * 100)
    assert isinstance(sweep(tmp_path / "images", *arguments).exception, SpoolUnwritable)


def test_a_folder_of_spools_that_is_not_there_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ImageStore(str(tmp_path / "images"))
    store.put("press", "top", time.time_ns() // 1000 - 9 * 24 * HOUR_US, "0" * 64, b"x", "png")
    gone = str(tmp_path / "unmounted")
    refused = [sweep(tmp_path / "images", "--older-than", "5d", "--spool-dir", gone)]
    monkeypatch.setenv("INSPECTION_SPOOL_DIR", gone)
    refused.append(sweep(tmp_path / "images", "--older-than", "5d"))
    for result in refused:
        assert isinstance(result.exception, SettingsError)
        assert str(result.exception) == f"--spool-dir {gone}: there is no such directory"
    assert len(list(tmp_path.rglob("*.png"))) == 1


def test_mistakes_are_errors_of_one_line(tmp_path: Path) -> None:
    assert isinstance(sweep(tmp_path, "--older-than", "soon").exception, SettingsError)
    assert isinstance(sweep(tmp_path, "--bootstrap-servers", "127.0.0.1:9").exception, BrokerUnavailable)
    assert json.loads(sweep(tmp_path, "--older-than", "1h").stdout)["hours"] == []
