"""TLS of Python's own `ssl` with the settings of librdkafka, for what librdkafka cannot do.

These are the ends of unreadable batches (`transport.batch_ends`), and the cause for which a broker's certificate is not
believed (`transport.handshake`).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from schemas.errors import SettingsError
from schemas.settings import KafkaSettings


def uses_tls(kafka: KafkaSettings) -> bool:
    """Return True if the clients of a line speak TLS with their brokers.

    Examples
    --------
    >>> uses_tls(KafkaSettings()), uses_tls(KafkaSettings(client=(("security.protocol", "SASL_SSL"),)))
    (False, True)
    """
    return dict(kafka.client).get("security.protocol", "").endswith("SSL")


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return a context that believes the same brokers as librdkafka, and shows the same certificate.

    Raises
    ------
    SettingsError
        If a certificate or key cannot be read.
    """
    client = dict(kafka.client)
    try:
        return _context(client)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(f"the certificates of INSPECTION_KAFKA_CONFIG cannot be used: {error}") from error


def _context(client: Mapping[str, str]) -> ssl.SSLContext:
    authorities = client.get("ssl.ca.location")
    if authorities == "probe":
        authorities = None
    is_folder = authorities is not None and Path(authorities).is_dir()
    context = ssl.create_default_context(
        cafile=None if is_folder else authorities,
        capath=authorities if is_folder else None,
        cadata=client.get("ssl.ca.pem"),
    )
    if "ssl.crl.location" in client:
        context.load_verify_locations(client["ssl.crl.location"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if "ssl.cipher.suites" in client:
        context.set_ciphers(client["ssl.cipher.suites"])
    with ExitStack() as stack:
        if "ssl.keystore.location" in client:
            pem = stack.enter_context(_in_memory(_unpacked(client)))
            context.load_cert_chain(pem)
        else:
            certificate, key = (_path(client, name, stack) for name in ("certificate", "key"))
            if certificate is not None:
                # Without a pass phrase OpenSSL would ask for one at the terminal.
                context.load_cert_chain(certificate, key, client.get("ssl.key.password", ""))
    return context


def _path(client: Mapping[str, str], name: str, stack: ExitStack) -> str | None:
    text = client.get(f"ssl.{name}.pem")
    return client.get(f"ssl.{name}.location") if text is None else stack.enter_context(_in_memory(text.encode()))


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file that is in memory only: `ssl` reads certificates and keys from files."""
    descriptor = os.memfd_create("inspection-tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _unpacked(client: Mapping[str, str]) -> bytes:
    """Return the private key and the certificates of a PKCS#12 keystore as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

    password = client.get("ssl.keystore.password")
    key, certificate, others = load_key_and_certificates(
        Path(client["ssl.keystore.location"]).read_bytes(), None if password is None else password.encode()
    )
    if key is None or certificate is None:
        raise ValueError("the keystore has no private key with a certificate")
    parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
    return b"".join([*parts, *(each.public_bytes(Encoding.PEM) for each in (certificate, *others))])
