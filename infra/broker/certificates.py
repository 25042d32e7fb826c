"""Certificates of a local certificate authority, as PEM."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = datetime.timedelta(days=3650)
#: Clocks of other machines may be behind.
_BEFORE = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """Private key with its certificate, as PEM."""

    key: bytes = field(repr=False)
    certificate: bytes


class CertificateAuthority:
    """Certificate authority whose private key exists in memory only.

    Parameters
    ----------
    name
        Common name.

    Examples
    --------
    >>> CertificateAuthority("plant-ca").issue("broker", ["localhost"]).certificate[:27]
    b'-----BEGIN CERTIFICATE-----'
    """

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        basic = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        builder = _begun(self._name, self._name, self._key, _DAYS).add_extension(basic, critical=True)
        signed = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        #: Certificate that clients trust.
        self.certificate = signed.public_bytes(Encoding.PEM)

    def issue(self, name: str, hosts: Sequence[str], valid: datetime.timedelta = _DAYS) -> IssuedKey:
        """Return a new private key with a certificate for a server or a client.

        Parameters
        ----------
        name
            Common name.
        hosts
            Names and addresses of a server; empty for a client.
        valid
            Time from now to the end of the certificate; negative: it has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _begun(_named(name), self._name, key, valid).add_extension(uses, critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(_host, hosts)), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return IssuedKey(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), certificate)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(min(now, now + valid) - _BEFORE)
    return builder.not_valid_after(now + valid)
