"""Translation of the names that Java's clients of Kafka use into those of librdkafka, which refuses Java's.

| Java | librdkafka |
|---|---|
| ``sasl.mechanism`` | ``sasl.mechanisms`` |
| ``sasl.jaas.config`` with the module of PLAIN or SCRAM | ``sasl.username``, ``sasl.password`` |
| ``ssl.truststore.location``, ``.certificates`` of type PEM | ``ssl.ca.location``, ``ssl.ca.pem`` |
| ``ssl.keystore.location`` of type PEM | ``ssl.certificate.location`` and ``ssl.key.location``, the same file |
| ``ssl.keystore.certificate.chain``, ``ssl.keystore.key`` | ``ssl.certificate.pem``, ``ssl.key.pem`` |
| ``ssl.keystore.location`` of type PKCS12 | ``ssl.keystore.location`` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from schemas.connection.properties import Property

_RENAMED = {
    "sasl.mechanism": "sasl.mechanisms",
    "ssl.truststore.certificates": "ssl.ca.pem",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.keystore.key": "ssl.key.pem",
}
_TYPES = ("ssl.truststore.type", "ssl.keystore.type")
_MODULE = re.compile(
    r"org\.apache\.kafka\.common\.security\.(?:plain\.Plain|scram\.Scram)LoginModule\s+required\s+(.*?);\s*", re.DOTALL
)
_OPTION = re.compile(r"""(\w+)\s*=\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*""")
_JAVA_ONLY = "a Java keystore (JKS), which only Java reads; convert it once: "
_TRUST = "`keytool -exportcert -rfc -keystore FILE -alias ALIAS -file ca.pem`, then ssl.ca.location=ca.pem"
_KEYS = (
    "`keytool -importkeystore -srckeystore FILE -destkeystore client.p12 -deststoretype PKCS12`, then "
    "ssl.keystore.location=client.p12 and ssl.keystore.type=PKCS12"
)


def translate(entries: Iterable[Property]) -> Iterator[Property]:
    """Yield the properties under the names of librdkafka.

    Raises
    ------
    SettingsError
        If a value has no counterpart, such as a Java keystore.
    """
    entries = list(entries)
    types = {each.key: each.value.upper() for each in entries if each.key in _TYPES}
    for each in entries:
        if each.key in _TYPES:
            if each.value.upper() not in ("PEM", "PKCS12", "JKS"):
                raise each.refusal("choose PEM or PKCS12")
        elif each.key == "sasl.jaas.config":
            yield from _login(each)
        elif each.key.startswith("ssl.truststore."):
            yield from _trusted(each, types.get("ssl.truststore.type"))
        elif each.key == "ssl.keystore.location":
            yield from _own_key(each, types.get("ssl.keystore.type"))
        else:
            yield replace(each, key=_RENAMED.get(each.key, each.key))


def _login(entry: Property) -> Iterator[Property]:
    found = _MODULE.fullmatch(entry.value)
    if found is None:
        raise entry.refusal(
            "only PlainLoginModule and ScramLoginModule are understood, as `org.apache.kafka.common.security."
            'scram.ScramLoginModule required username="..." password="...";`; for tokens set '
            "sasl.oauthbearer.client.id and the keys beside it"
        )
    text, at, options = found[1], 0, {}
    while at < len(text):
        option = _OPTION.match(text, at)
        if option is None:
            raise entry.refusal('behind the module only name="value" is understood, without backslashes')
        options[option[1]] = option[2] if option[2] is not None else option[3]
        at = option.end()
    if set(options) != {"username", "password"}:
        raise entry.refusal("it needs username and password, and nothing else")
    for name, value in options.items():
        yield replace(entry, key=f"sasl.{name}", value=value)


def _trusted(entry: Property, kind: str | None) -> Iterator[Property]:
    if entry.key == "ssl.truststore.certificates":
        yield replace(entry, key=_RENAMED[entry.key])
    elif entry.key != "ssl.truststore.location":
        raise entry.refusal("a PEM file of certificates needs no password; remove the line")
    elif kind != "PEM":
        if kind == "PKCS12":
            raise entry.refusal(
                "only PEM is read here; convert it once: `openssl pkcs12 -in FILE -nokeys -out ca.pem`, then "
                "ssl.ca.location=ca.pem"
            )
        raise entry.refusal(_JAVA_ONLY + _TRUST)
    else:
        yield replace(entry, key="ssl.ca.location")


def _own_key(entry: Property, kind: str | None) -> Iterator[Property]:
    if kind == "JKS":
        raise entry.refusal(_JAVA_ONLY + _KEYS)
    if kind == "PEM":
        yield replace(entry, key="ssl.certificate.location")
        yield replace(entry, key="ssl.key.location")
    else:
        yield entry


def check_keystore(entry: Property, content: bytes) -> None:
    """Refuse a file that is a Java keystore, whatever its name.

    Raises
    ------
    SettingsError
        If it is one.
    """
    if content[:4] in (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce"):
        raise entry.refusal(_JAVA_ONLY + _KEYS)
