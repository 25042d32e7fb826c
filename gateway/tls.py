"""TLS of the server: certificate chain and key from files."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

from gateway.settings import GatewaySettings
from schemas.connection.secret_files import read_secret, read_trusted
from schemas.errors import SettingsError
from schemas.text import shown


def server_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Return the context with the certificate and the key of the settings; None without TLS.

    Raises
    ------
    SettingsError
        If the files cannot be used: others can read the key, or write one of the files; the key has a pass phrase or
        belongs to another certificate.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return None
    _check("--tls-certificate", certificate, is_secret=False)
    _check("--tls-key", key, is_secret=True)

    def refuse_pass_phrase() -> NoReturn:
        # Without this function OpenSSL asks for it on the terminal, and waits.
        raise SettingsError(
            f"--tls-key {shown(key)}: the key has a pass phrase; `openssl pkey -in FILE -out NEW_FILE` takes it off"
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, refuse_pass_phrase)
    except OSError as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        if reason == "KEY_VALUES_MISMATCH":
            reason = "the key belongs to another certificate"
        else:
            reason = f"they are not a certificate chain and its key in PEM ({reason or error})"
        raise SettingsError(f"--tls-certificate {shown(certificate)}, --tls-key {shown(key)}: {reason}") from error
    return context


def _check(option: str, path: Path, *, is_secret: bool) -> None:
    try:
        if is_secret:
            read_secret(path)
        else:
            read_trusted(path)
    except OSError as error:
        raise SettingsError(f"{option} {shown(path)}: {error.strerror}") from None
