"""Secrets that this process was given, in texts that neither name them nor have an address around them."""

from __future__ import annotations

import json
import logging

import pytest

from infra.cli.shared.terminal_text import echo, echo_json
from producers.cameras.opencv import OpenCvCamera
from schemas import KafkaSettings
from schemas.addresses import masked_text
from schemas.known_secrets import keep_secret, without_secrets
from stream_processors.watch.settings import WatchSettings
from transport.image_store import ImageStore
from transport.logs import LineFormatter

#: A different one for each door, so that no door hides the secret of another.
KAFKA, CAMERA, HOOK, STORE, REGISTRY = (f"correct horse {number}/ä" for number in range(5))


def give_to_all() -> None:
    KafkaSettings("k:9092", client=(("sasl.username", "press"), ("sasl.password", KAFKA)))
    OpenCvCamera(f"rtsp://admin:{CAMERA.replace('/', '%2F').replace(' ', '%20')}@10.0.0.5/live")
    WatchSettings(webhook=f"https://chat.plant/{HOOK}")
    ImageStore("memory://secrets", secret=STORE)
    KafkaSettings(schema_registry_url=f"http://u:{REGISTRY.replace('/', '%2F').replace(' ', '%20')}@registry:8081")


def test_a_secret_alone_is_hidden_wherever_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    give_to_all()
    for secret in (KAFKA, CAMERA, HOOK, STORE, REGISTRY):
        text = f"the device says: {secret} is wrong"
        assert masked_text(text) == "the device says: *** is wrong"
        try:
            raise ValueError(secret)
        except ValueError as error:
            found = (ValueError, error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "", 0, "%s", (text,), found)
        assert secret not in LineFormatter("%(message)s").format(record)
        echo(text)
        echo_json({"reason": text, secret: [secret], "count": 3})
    printed = capsys.readouterr()
    assert "correct" not in printed.out + printed.err
    lines = [line for line in printed.out.splitlines() if line.startswith("{")]
    assert json.loads(lines[0]) == {"reason": "the device says: *** is wrong", "***": ["***"], "count": 3}


def test_a_secret_that_is_short_or_within_a_word_changes_no_text() -> None:
    keep_secret("pump7", "gripper", "gripper-long", None, "")
    assert without_secrets("pump7 and grippers") == "pump7 and grippers"
    assert without_secrets("gripper-long, gripper_1, 'gripper'") == "***, gripper_1, '***'"


def test_a_private_key_is_hidden_line_by_line() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n"
    KafkaSettings("k:9092", client=(("ssl.key.pem", key),))
    assert without_secrets("bad base64 in MIIEvQIBADANBg") == "bad base64 in ***"
