"""Files of the certificate and of the key, without Kafka."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.settings import GatewaySettings
from gateway.tls import server_context
from infra.broker.certificates import CertificateAuthority
from schemas.errors import SettingsError

AUTHORITY = CertificateAuthority("plant-ca")


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    """Settings with a certificate and its key."""
    issued = AUTHORITY.issue("gateway", ["127.0.0.1"])
    (tmp_path / "chain.pem").write_bytes(issued.certificate)
    write_key(tmp_path / "key.pem", issued.key)
    return GatewaySettings(tls_certificate=tmp_path / "chain.pem", tls_key=tmp_path / "key.pem")


def write_key(path: Path, key: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(key)


def encrypted(key: bytes) -> bytes:
    made = load_pem_private_key(key, None)
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"phrase"))


def test_a_certificate_with_its_key_is_accepted(settings: GatewaySettings) -> None:
    assert server_context(settings) is not None
    assert server_context(GatewaySettings()) is None
    assert settings.tls_key is not None
    settings.tls_key.chmod(0o640)  # as Kubernetes makes it
    assert server_context(settings) is not None


@pytest.mark.parametrize(("name", "mode"), [("key.pem", 0o604), ("key.pem", 0o602), ("chain.pem", 0o646)])
def test_files_that_others_can_use_are_refused(settings: GatewaySettings, tmp_path: Path, name: str, mode: int) -> None:
    (tmp_path / name).chmod(mode)
    with pytest.raises(SettingsError, match=rf"--tls-\w+ .*{name}: others can (read|write) it; `chmod o= FILE`"):
        server_context(settings)


def test_files_that_are_wrong_are_named(settings: GatewaySettings, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    write_key(key, AUTHORITY.issue("other", []).key)
    with pytest.raises(SettingsError, match=r"--tls-key .*key.pem: the key belongs to another certificate$"):
        server_context(settings)
    write_key(key, b"not PEM")
    with pytest.raises(SettingsError, match=r"they are not a certificate chain and its key in PEM"):
        server_context(settings)
    key.unlink()
    with pytest.raises(SettingsError, match=r"^--tls-key .*key.pem: No such file or directory$"):
        server_context(settings)


def test_a_pass_phrase_is_not_asked_for(settings: GatewaySettings, tmp_path: Path) -> None:
    """Run the command on a terminal: there OpenSSL would ask, and wait for ever."""
    key = tmp_path / "key.pem"
    write_key(key, encrypted(key.read_bytes()))
    ours, theirs = pty.openpty()
    code = "from infra.cli.root import main; main()"
    options = ["--port", "0", "--tls-certificate", str(tmp_path / "chain.pem"), "--tls-key", str(key)]
    done = subprocess.run(
        [sys.executable, "-c", code, "gateway", *options], stdin=theirs, capture_output=True, text=True, check=False,
        timeout=60, cwd=Path(__file__).parents[2], env={**os.environ, "INSPECTION_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 1
    assert f"error: --tls-key {key}: the key has a pass phrase; `openssl pkey" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
