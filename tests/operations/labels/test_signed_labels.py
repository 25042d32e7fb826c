"""Labels that no operator has signed: left out or counted, by each command that reads labels, on a real Kafka."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.root import app
from operations import make_label, publish_labels
from operations.key_entries import entry_of, publish_entries, read_spread_keys
from replay.archive import ArchiveSink, ArchiveStore, SinkOptions
from schemas import Action, KafkaSettings
from schemas.errors import SettingsError
from tests.support.gateways import running_gateway
from tests.support.line_users import make_users
from tests.support.quality_lines import EPOCH_US, decision, publish, run
from tests.support.secured import SecuredBroker
from tests.support.trust_folders import Keys
from transport.public_keys import SignerRole

CAMERA, OPERATOR, AUTHORITY = SignerRole.CAMERA, SignerRole.OPERATOR, SignerRole.AUTHORITY
#: Holder of the key that signs the label of each decision; "" signs nothing.
SIGNED_BY = ["ann", "ann", "", "cam", "gone", "stranger", ""]
SUMMARY = (
    "5 labels are not signed by an operator of --trust, and {}: 1 revoked-key, 1 unknown-key, 2 unsigned, 1 wrong-role"
)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    found = Keys(tmp_path)
    found.make("site", AUTHORITY)
    found.make("ann", OPERATOR)
    found.make("cam", CAMERA, "s/c")
    found.make("gone", OPERATOR)
    found.revoke("gone")
    found.make_apart("stranger", OPERATOR)
    return found


@pytest.fixture
def signed(line: KafkaSettings, keys: Keys) -> KafkaSettings:
    """Line with seven rejected parts, each with a label; two of them are signed by an operator."""
    decisions = [decision(number, Action.REJECT, source_topic=line.frames) for number in range(len(SIGNED_BY))]
    publish(line, line.decisions, [*decisions])
    for name in dict.fromkeys(SIGNED_BY):
        labels = [
            make_label("bad", frame_id=one.frame_id, station="s", camera_id="c", labelled_by="x", labelled_at_us=1)
            for one, signer in zip(decisions, SIGNED_BY, strict=True)
            if signer == name
        ]
        publish_labels(replace(line, signing_key=str(keys.private(name)) if name else None), labels)
    return line


def labelled(done: Result) -> int:
    """Return the number of labelled parts in the JSON of `inspection quality`."""
    assert done.exit_code == 0, done.output + str(done.exception)
    number: int = json.loads(done.stdout)["figures"][0]["labelled"]
    return number


@pytest.mark.broker
def test_labels_of_a_gateway_count_with_a_key_of_an_operator(line: KafkaSettings, keys: Keys) -> None:
    one = decision(0, Action.REJECT, source_topic=line.frames)
    publish(line, line.decisions, [one])
    label = json.dumps({"frame_id": one.frame_id, "truth": "defective", "station": "s", "camera_id": "c"})
    signing = replace(line, signing_key=str(keys.private("cam")))
    found = []
    for label_key in (None, keys.private("ann")):
        with running_gateway(signing, label_key=label_key) as gateway:
            answer = gateway.ask("POST", "/v1/labels", label, Content_Type="application/json")
            assert answer.status == 201, answer.data
        found.append(run(line, "quality", "--json", "--trust", str(keys.trust)))
    assert [labelled(done) for done in found] == [0, 1]
    assert json.loads(found[1].stdout)["unsigned_labels"] == {"wrong-role": 1}


@pytest.mark.broker
@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.key", "No such file"), ("trust/ann.yaml", "others can read it"), ("text", "not a private key as")],
)
def test_a_label_key_that_is_none_ends_the_gateway_in_a_line(
    name: str, reason: str, line: KafkaSettings, keys: Keys
) -> None:
    (keys.folder / "text").touch(0o600)
    with (
        pytest.raises(SettingsError, match=rf"^--label-key=.*{reason}[^\n]*$"),
        running_gateway(line, label_key=keys.folder / name),
    ):
        pass


@pytest.mark.broker
def test_quality_counts_labels_of_operators(signed: KafkaSettings, keys: Keys) -> None:
    trust = ("--trust", str(keys.trust))
    strict = run(signed, "quality", "--json", *trust)
    assert labelled(strict) == 2
    assert SUMMARY.format("not used") in strict.stderr
    assert json.loads(strict.stdout)["unsigned_labels"] == {
        "unsigned": 2, "wrong-role": 1, "revoked-key": 1, "unknown-key": 1
    }  # fmt: skip


@pytest.mark.broker
@pytest.mark.long
def test_modes_and_review(signed: KafkaSettings, keys: Keys) -> None:
    trust = ("--trust", str(keys.trust))
    assert labelled(run(signed, "quality", "--json")) == 7
    warned = run(signed, "quality", "--json", *trust, "--signatures", "warn")
    assert (labelled(warned), SUMMARY.format("used all the same") in warned.stderr) == (7, True)
    off = run(signed, "quality", "--json", *trust, "--signatures", "off")
    assert (labelled(off), off.stderr) == (7, "")
    # A forged label hides no frame from those who look for frames to label.
    everything = ("--random-share", "1")
    assert json.loads(run(signed, "review", "--json", *everything).stdout)["frames"] == []
    found = run(signed, "review", "--json", *everything, *trust)
    assert len(json.loads(found.stdout)["frames"]) == 5
    assert SUMMARY.format("not used") in found.stderr


@pytest.mark.broker
@pytest.mark.long
def test_keys_of_the_topic(signed: KafkaSettings, keys: Keys) -> None:
    publish_entries(replace(signed, signing_key=str(keys.private("site"))), [entry_of(keys.public("stranger"))])
    assert labelled(run(signed, "quality", "--json", "--trust", str(keys.trust), "--trust-topic")) == 3


@pytest.mark.broker
@pytest.mark.long
def test_a_key_that_was_replaced_and_one_that_came_later(signed: KafkaSettings, keys: Keys) -> None:
    """A key has to be valid when the label is written, and not when it is read."""
    keys.change("ann", "not_after: 2020-01-01T00:00:00Z")
    strict = run(signed, "quality", "--json", "--trust", str(keys.trust))
    assert json.loads(strict.stdout)["unsigned_labels"]["key-not-valid-now"] == 2
    text = (keys.trust / "ann.yaml").read_text()
    (keys.trust / "ann.yaml").write_text(text.replace("2020", "2099"))
    assert labelled(run(signed, "quality", "--json", "--trust", str(keys.trust))) == 2


@pytest.mark.broker
@pytest.mark.long
def test_analysis_and_export(signed: KafkaSettings, keys: Keys, tmp_path: Path) -> None:
    trust = ("--trust", str(keys.trust))
    found = json.loads(run(signed, "analyse", "--json", *trust).stdout)
    assert found["labels"]["labels"] == 2
    assert any(SUMMARY.format("not used") in warning for warning in found["warnings"])
    assert json.loads(run(signed, "analyse", "--json").stdout)["labels"]["labels"] == 7
    for options, number in (((), 7), (trust, 2)):
        table = tmp_path / f"{number}.jsonl"
        where = ("--bootstrap-servers", signed.bootstrap_servers, "--prefix", signed.prefix)
        done = CliRunner().invoke(app, ["export", "rows", str(table), *where, *options])
        assert done.exit_code == 0, done.output + str(done.exception)
        truths = [json.loads(row)["is_defective"] for row in table.read_text().splitlines()]
        assert sum(truth is not None for truth in truths) == number
        assert (SUMMARY.format("not used") in done.stderr) == (number == 2)


@pytest.mark.broker
@pytest.mark.long
def test_labels_of_an_archive(signed: KafkaSettings, keys: Keys, tmp_path: Path) -> None:
    """An archive keeps the header of a signature, and records that are encoded to the same bytes again."""
    ArchiveSink(signed, ArchiveStore(str(tmp_path / "archive")), SinkOptions()).run_once(threading.Event())
    past = ("--archive", str(tmp_path / "archive"), "--archive-only")
    found = run(signed, "quality", "--json", *past, "--trust", str(keys.trust))
    assert (labelled(found), SUMMARY.format("not used") in found.stderr) == (2, True)


def test_options_that_do_not_fit(keys: Keys, tmp_path: Path) -> None:
    def refused(*options: str) -> str:
        done = run(KafkaSettings("127.0.0.1:1"), "quality", *options)
        assert isinstance(done.exception, SettingsError), done.output
        assert "\n" not in str(done.exception)
        return str(done.exception)

    assert refused("--signatures", "require") == "--signatures require: name the folder of public keys with --trust"
    assert refused("--trust-topic") == "--trust-topic: name the folder of public keys with --trust"
    assert "no such folder" in refused("--trust", str(tmp_path / "none"))
    shutil.rmtree(keys.trust / "revoked")
    (keys.trust / "site.yaml").unlink()
    assert "has the role authority" in refused("--trust", str(keys.trust), "--trust-topic")
    (keys.trust / "garbage.yaml").write_bytes(b"\xff\xfe")
    assert "garbage.yaml" in refused("--trust", str(keys.trust))


@pytest.mark.broker
@pytest.mark.long
def test_a_reviewer_may_read_the_keys_of_the_topic(
    secured: SecuredBroker, unique: str, keys: Keys, tmp_path: Path
) -> None:
    secured.create_topics(unique)
    admin = secured.settings(unique)
    users = make_users(admin, tmp_path)
    publish_entries(replace(admin, signing_key=str(keys.private("site"))), [entry_of(keys.public("stranger"))])
    found, faults = read_spread_keys(users.reviewer, keys.trust)
    assert (sum(key.role is OPERATOR for key in found.in_force(EPOCH_US).values()), faults) == (2, {})
