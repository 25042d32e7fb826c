"""Checks of a whole client configuration: what is missing, contradicts itself, or would send a secret in the clear."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from schemas.connection.properties import Property

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
#: Mechanisms that send the password, or a token that is as good, to the broker.
_IN_THE_CLEAR = ("PLAIN", "OAUTHBEARER")
_TOKENS = "sasl.oauthbearer."
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Settings = Mapping[str, Property]


def check_settings(settings: Settings, variables: Mapping[str, str]) -> None:
    """Refuse settings that cannot connect, or that would show a secret.

    Parameters
    ----------
    settings
        Lines by key, under the names of librdkafka.
    variables
        Keys whose value comes from a file of its own, with the variable that names this file.

    Raises
    ------
    SettingsError
        With file, line and key.
    """
    protocol = _protocol(settings)
    if not protocol.startswith("SASL_"):
        _refuse_first(settings, variables, "sasl.", "it needs security.protocol=SASL_SSL")
    if protocol in ("PLAINTEXT", "SASL_PLAINTEXT"):
        _refuse_first(settings, variables, "ssl.", "it needs security.protocol=SSL or SASL_SSL")
    if protocol.startswith("SASL_"):
        _check_login(settings, variables, protocol)
    _check_key_pair(settings)


def _protocol(settings: Settings) -> str:
    entry = settings.get("security.protocol")
    if entry is None:
        return "PLAINTEXT"
    if entry.value.upper() not in _PROTOCOLS:
        raise entry.refusal(f"choose from {', '.join(_PROTOCOLS)}")
    return entry.value.upper()


def _refuse_first(settings: Settings, variables: Mapping[str, str], prefix: str, why: str) -> None:
    for key, entry in settings.items():
        if key.startswith(prefix):
            named = f"{variables[key]} gives {key}, and " if key in variables else ""
            raise entry.refusal(f"{named}{why}")


def _check_login(settings: Settings, variables: Mapping[str, str], protocol: str) -> None:
    entry = settings.get("sasl.mechanisms")
    if entry is None:
        raise settings["security.protocol"].refusal("sasl.mechanisms is missing, such as SCRAM-SHA-512")
    mechanism = entry.value.upper()
    if mechanism not in _MECHANISMS:
        raise entry.refusal(f"choose one of {', '.join(_MECHANISMS)}")
    if protocol == "SASL_PLAINTEXT" and mechanism in _IN_THE_CLEAR:
        raise entry.refusal(f"{mechanism} without TLS shows the secret to the network; use security.protocol=SASL_SSL")
    if mechanism != "OAUTHBEARER":
        _refuse_first(settings, variables, _TOKENS, "it needs sasl.mechanisms=OAUTHBEARER")
        for key, variable in (("sasl.username", None), ("sasl.password", "INSPECTION_KAFKA_PASSWORD_FILE")):
            if key not in settings:
                file = f"; {variable} may name a file that has it" if variable else ""
                raise entry.refusal(f"{key} is missing{file}")
        return
    for key in ("sasl.username", "sasl.password"):
        _refuse_first(settings, variables, key, "OAUTHBEARER has neither user nor password")
    _check_tokens(settings, entry)


def _check_tokens(settings: Settings, mechanism: Property) -> None:
    method = settings.get(f"{_TOKENS}method")
    if method is None or method.value != "oidc":
        raise (method or mechanism).refusal(f"only {_TOKENS}method=oidc is supported: the token comes from a server")
    for key in ("client.id", "client.secret", "token.endpoint.url"):
        if _TOKENS + key not in settings:
            file = "; INSPECTION_KAFKA_CLIENT_SECRET_FILE may name a file that has it" if "secret" in key else ""
            raise mechanism.refusal(f"{_TOKENS}{key} is missing{file}")
    url = settings[f"{_TOKENS}token.endpoint.url"]
    try:
        parts = urlsplit(url.value)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError:
        is_safe = False
    if not is_safe:
        raise url.refusal("it has to begin with https://: the client secret goes there")


def _check_key_pair(settings: Settings) -> None:
    """Refuse a certificate without its key, a key without its certificate, and a second place for either."""
    stores = settings.get("ssl.keystore.location")
    for name, other in (("certificate", "key"), ("key", "certificate")):
        found = [settings[key] for key in (f"ssl.{name}.location", f"ssl.{name}.pem") if key in settings]
        if len(found) > 1 or (found and stores is not None):
            raise found[-1].refusal(f"the {name} is given twice")
        if found and not {f"ssl.{other}.location", f"ssl.{other}.pem"} & set(settings):
            raise found[0].refusal(f"ssl.{other}.location is missing")
    if "ssl.ca.location" in settings and "ssl.ca.pem" in settings:
        raise settings["ssl.ca.pem"].refusal("the certificates of the CA are given twice")
    if "ssl.keystore.password" in settings and stores is None:
        raise settings["ssl.keystore.password"].refusal("ssl.keystore.location is missing")
