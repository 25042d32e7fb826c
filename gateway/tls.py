"""TLS of the server: certificate chain and key from files."""

from __future__ import annotations

import ssl

from gateway.settings import GatewaySettings
from schemas.errors import SettingsError


def server_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Return the context with the certificate and the key of the settings; None without TLS.

    Raises
    ------
    SettingsError
        If the files cannot be used.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:
        raise SettingsError(
            f"--tls-certificate {settings.tls_certificate}, --tls-key {settings.tls_key}: {error.strerror or error}"
        ) from error
    return context
