"""Signatures and trust folders: what is forged is told apart by reason; a folder may change while it is read."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from infra.cli.root import app
from operations.signing_keys import make_key_files
from schemas import KafkaSettings
from schemas.errors import SettingsError
from schemas.replay_headers import RETRY_HEADER
from tests.support.trust_folders import Keys
from transport import signing_key
from transport.belief import SignaturePolicy, make_belief
from transport.public_keys import SignatureFault, SignerRole
from transport.signatures import SIGNATURE_HEADER, parse_signature, signed_bytes, verify
from transport.signing_key import Signer, read_signing_key
from transport.trust import Trust, read_trust

TOPIC, KEY, VALUE = "inspection.frames", b"press/top", b"a frame"
NOW_US = 1_795_000_000_000_000
CAMERA, WORKER, OPERATOR = SignerRole.CAMERA, SignerRole.WORKER, SignerRole.OPERATOR


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def fault(
    trust: Trust, header: bytes | None, role: SignerRole = CAMERA, camera: str = "press/top"
) -> SignatureFault | None:
    headers = {} if header is None else {SIGNATURE_HEADER: header}
    return trust.fault(role, camera, TOPIC, KEY, VALUE, headers, NOW_US)


def test_each_fault_has_its_name(keys: Keys, tmp_path: Path) -> None:
    key, other = keys.make("top", CAMERA, "press/top"), keys.make("side", CAMERA, "press/side", "hall-*/*")
    worker, old, early = keys.make("w", WORKER), keys.make("old", CAMERA, "*/*"), keys.make("early", CAMERA, "*/*")
    revoked = keys.make("gone", CAMERA, "press/top")
    keys.revoke("gone")
    keys.change("old", "not_after: 2026-01-01T00:00:00Z")
    keys.change("early", "not_before: '2099-01-01'")
    stranger = read_signing_key(make_key_files(tmp_path / "else", "x", CAMERA, ("press/top",)).private)
    trust = Trust(keys.trust)
    header = key.sign(TOPIC, KEY, VALUE)
    assert fault(trust, header) is None
    assert fault(trust, worker.sign(TOPIC, KEY, VALUE), WORKER) is None
    for wrong, expected in (
        (None, SignatureFault.UNSIGNED),
        (stranger.sign(TOPIC, KEY, VALUE), SignatureFault.UNKNOWN_KEY),
        (revoked.sign(TOPIC, KEY, VALUE), SignatureFault.REVOKED_KEY),
        (worker.sign(TOPIC, KEY, VALUE), SignatureFault.WRONG_ROLE),
        (other.sign(TOPIC, KEY, VALUE), SignatureFault.WRONG_CAMERA),
        (old.sign(TOPIC, KEY, VALUE), SignatureFault.NOT_VALID_NOW),
        (early.sign(TOPIC, KEY, VALUE), SignatureFault.NOT_VALID_NOW),
        (key.sign("inspection.decisions", KEY, VALUE), SignatureFault.BAD_SIGNATURE),
        (key.sign(TOPIC, b"press/side", VALUE), SignatureFault.BAD_SIGNATURE),
        (key.sign(TOPIC, KEY, b"another"), SignatureFault.BAD_SIGNATURE),
        (key.sign(TOPIC, KEY, VALUE, b"0-7"), SignatureFault.BAD_SIGNATURE),
        (key.sign(TOPIC, None, VALUE), SignatureFault.BAD_SIGNATURE),
        (header[:-1] + bytes([header[-1] ^ 1]), SignatureFault.BAD_SIGNATURE),
        (header[:9] + stranger.sign(TOPIC, KEY, VALUE)[9:], SignatureFault.BAD_SIGNATURE),
        (b"\x02" + header[1:], SignatureFault.BAD_SIGNATURE),
        (header + b"\0", SignatureFault.BAD_SIGNATURE),
        (b"", SignatureFault.BAD_SIGNATURE),
    ):
        assert fault(trust, wrong) is expected, expected


@given(st.binary(max_size=100))
def test_garbage_is_no_signature(header: bytes) -> None:
    public = bytes(32)
    assert not verify(public, header, signed_bytes(TOPIC, KEY, VALUE))
    parse_signature(header)


@given(st.lists(st.none() | st.binary(max_size=6), min_size=3, max_size=3), st.lists(st.none() | st.binary(max_size=6),
       min_size=3, max_size=3))  # fmt: skip
def test_two_messages_never_have_the_same_signed_bytes(one: list[bytes | None], two: list[bytes | None]) -> None:
    def of(parts: list[bytes | None]) -> bytes:
        return signed_bytes(TOPIC, parts[0], parts[1], parts[2])

    same = (one[0], one[1] or b"", one[2]) == (two[0], two[1] or b"", two[2])
    assert (of(one) == of(two)) is same


def test_a_retry_is_signed_by_an_operator(keys: Keys, tmp_path: Path) -> None:
    camera = keys.make("top", CAMERA, "press/top")
    keys.make("ann", OPERATOR)
    trust, signer = Trust(keys.trust), Signer(tmp_path / "ann.key")
    original = [(SIGNATURE_HEADER, camera.sign(TOPIC, KEY, VALUE)), (RETRY_HEADER, "0-7")]
    headers = {
        name: value.encode() if isinstance(value, str) else value or b""
        for name, value in signer.headers(TOPIC, KEY, VALUE, original)
    }
    assert trust.fault(CAMERA, "press/top", TOPIC, KEY, VALUE, headers, NOW_US) is None
    assert trust.retry_fault("press/top", TOPIC, KEY, VALUE, headers, NOW_US) is None
    other = {**headers, RETRY_HEADER: b"0-8"}
    assert trust.retry_fault("press/top", TOPIC, KEY, VALUE, other, NOW_US) is SignatureFault.BAD_SIGNATURE
    by_camera = {**headers, "inspection-retry-signature": camera.sign(TOPIC, KEY, VALUE, b"0-7")}
    assert trust.retry_fault("press/top", TOPIC, KEY, VALUE, by_camera, NOW_US) is SignatureFault.WRONG_ROLE


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{", b"\xff", b"a: [", b"public_key: x\nrole: camera", b"public_key: {k}\nrole: king\n",
        b"public_key: {k}", b"role: worker", b"public_key: {k}\nrole: camera\n",
        b"public_key: {k}\nrole: camera\ncameras: []", b"public_key: {k}\nrole: camera\ncameras: press/top",
        b"public_key: {k}\nrole: worker\nnot_after: soon", b"public_key: {k}\nrole: worker\nadmin: true",
        b"public_key: {k}\nrole: worker\ncameras: [7]", b"public_key: [1]\nrole: worker", b"x" * 2_000_000,
        b"public_key: !!python/object/apply:os.system [id]\nrole: worker", b"- " * 100_000,
        b"public_key: {k}\nrole: !!bool maybe\n", b"public_key: !!timestamp x\nrole: worker\n", b"role: !!int [1]\n",
        b"[" * 5_000,
    ],
)  # fmt: skip
def test_a_wrong_file_is_named(keys: Keys, content: bytes) -> None:
    keys.make("good", WORKER)
    text = (keys.trust / "good.yaml").read_text().splitlines()[0].partition(": ")[2].encode()
    (keys.trust / "bad.yaml").write_bytes(content.replace(b"{k}", text))
    with pytest.raises(SettingsError, match=r"bad\.yaml: ") as error:
        read_trust(keys.trust)
    assert "\n" not in str(error.value)


def test_folders_that_cannot_be_used(tmp_path: Path, keys: Keys) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SettingsError, match="--trust"):
            Trust(path)
    keys.make("good", WORKER)
    (keys.trust / "good.yaml").chmod(0o666)
    with pytest.raises(SettingsError, match="others can write it"):
        Trust(keys.trust)
    with pytest.raises(SettingsError, match="--trust"):
        make_belief(None, SignaturePolicy.WARN)
    assert make_belief(keys.trust, SignaturePolicy.OFF) is None


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_wrong_private_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="not a private key"):
        Signer(path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="others can read it"):
        Signer(path)
    with pytest.raises(SettingsError, match="No such file"):
        Signer(tmp_path / "none")


def wait_for(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_a_rotation_needs_no_restart(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signing_key, "_INTERVAL_S", 0.05)
    monkeypatch.setattr("transport.trust._INTERVAL_S", 0.05)
    old = keys.make("one", CAMERA, "press/top")
    trust, signer = Trust(keys.trust), Signer(tmp_path / "one.key")
    keys.make("two", CAMERA, "press/top")
    (tmp_path / "two.key").rename(tmp_path / "one.key")
    wait_for(lambda: signer.key.public != old.public)
    wait_for(lambda: fault(trust, signer.key.sign(TOPIC, KEY, VALUE)) is None)
    assert fault(trust, old.sign(TOPIC, KEY, VALUE)) is None  # both are valid at once
    keys.revoke("one")
    wait_for(lambda: fault(trust, old.sign(TOPIC, KEY, VALUE)) is SignatureFault.REVOKED_KEY)
    # What cannot be read changes nothing.
    (keys.trust / "bad.yaml").write_bytes(b"{")
    (tmp_path / "one.key").write_bytes(b"garbage")
    with caplog.at_level("ERROR"):
        wait_for(
            lambda: fault(trust, signer.key.sign(TOPIC, KEY, VALUE)) is None and caplog.text.count("former key") > 1
        )


def test_a_file_that_was_refused_counts_once_it_may(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transport.trust._INTERVAL_S", 0.05)
    stolen = keys.make("one", CAMERA, "press/top")
    trust = Trust(keys.trust)
    (keys.trust / "one.yaml").chmod(0o666)
    keys.revoke("one")
    wait_for(lambda: fault(trust, stolen.sign(TOPIC, KEY, VALUE)) is None and "others can write it" in caplog.text)
    time.sleep(0.3)
    assert fault(trust, stolen.sign(TOPIC, KEY, VALUE)) is None
    assert caplog.text.count("others can write it") == 1
    (keys.trust / "revoked" / "one.yaml").chmod(0o644)  # neither its time nor its size changes
    wait_for(lambda: fault(trust, stolen.sign(TOPIC, KEY, VALUE)) is SignatureFault.REVOKED_KEY)


def test_warn_believes_and_counts(keys: Keys) -> None:
    keys.make("w", WORKER)
    found: list[SignatureFault] = []
    warn = make_belief(keys.trust, SignaturePolicy.WARN, lambda _, fault: found.append(fault))
    require = make_belief(keys.trust, None, lambda _, fault: found.append(fault))
    assert warn is not None
    assert require is not None
    assert warn.refusal(WORKER, "press/top", TOPIC, KEY, VALUE, {}) is None
    assert require.refusal(WORKER, "press/top", TOPIC, KEY, VALUE, {}) is SignatureFault.UNSIGNED
    assert found == [SignatureFault.UNSIGNED, SignatureFault.UNSIGNED]


def test_the_private_key_is_never_shown(keys: Keys, tmp_path: Path) -> None:
    key = keys.make("w", WORKER)
    assert "private" not in repr(key)
    assert "w.key" not in repr(KafkaSettings(signing_key=str(tmp_path / "w.key")))


def test_commands(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["keys", *arguments])
        return done.exit_code, done.output + str(done.exception or "")

    out = ("--out", str(tmp_path))
    status, text = run("new", "press-top", "--role", "camera", "--camera", "press/top", *out)
    assert status == 0, text
    assert oct((tmp_path / "press-top.key").stat().st_mode & 0o777) == "0o600"
    for arguments in (
        ("press-top", "--role", "worker"), ("../x", "--role", "worker"), ("c", "--role", "camera"),
        ("c", "--role", "camera", "--camera", "top"), ("", "--role", "worker"),
    ):  # fmt: skip
        status, text = run("new", *arguments, *out)
        assert status == 1, text
    (tmp_path / "trust" / "revoked").mkdir(parents=True)
    shutil.copy(tmp_path / "press-top.yaml", tmp_path / "trust")
    status, text = run("show", str(tmp_path / "trust"))
    assert (status, text.split("  ")[1]) == (0, "press-top: camera for press/top\n")
    shutil.move(tmp_path / "trust" / "press-top.yaml", tmp_path / "trust" / "revoked")
    assert run("show", str(tmp_path / "trust"))[1].endswith("press/top, revoked\n")
    assert run("show", str(tmp_path / "nowhere"))[0] == 1


def test_metrics_count_the_keys_that_are_believed_now(keys: Keys) -> None:
    for name in ("top", "side", "gone", "old"):
        keys.make(name, CAMERA, f"press/{name}")
    keys.make("w", WORKER)
    keys.revoke("gone")
    keys.change("old", "not_after: 2026-01-01T00:00:00Z")
    registry, belief = CollectorRegistry(), make_belief(keys.trust, None)
    assert belief is not None
    belief.add_metrics(registry)
    found = [registry.get_sample_value("inspection_signing_keys", {"role": role}) for role in SignerRole]
    assert found == [2, 1, 0, 0]
    assert registry.get_sample_value("inspection_key_topic_connected") is None  # no topic is followed
