"""Connection to a schema registry from the environment: a properties file, and files with one secret each.

| variable | names a file with |
|---|---|
| ``INSPECTION_SCHEMA_REGISTRY_CONFIG`` | ``key=value`` lines, as clients of Confluent's registry have them |
| ``INSPECTION_SCHEMA_REGISTRY_USER_FILE`` | ``user:password`` |
| ``INSPECTION_SCHEMA_REGISTRY_TOKEN_FILE`` | a token (RFC 6750) |
| ``INSPECTION_SCHEMA_REGISTRY_KEY_PASSWORD_FILE`` | the pass phrase of the private key |

The prefix ``schema.registry.`` of Java's clients is allowed before each key. Without ``.._CONFIG``, the file of
``INSPECTION_KAFKA_CONFIG`` counts, if it names a registry: Confluent Cloud hands out one file for both. There only keys
that begin with ``schema.registry.``, ``basic.auth.`` or ``bearer.auth.`` are about the registry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from schemas.connection.client_keys import ALWAYS, REGISTRY_PREFIXES, check_text
from schemas.connection.java_names import translate
from schemas.connection.named_files import (
    READ_BY_OTHERS,
    check_pass_phrase,
    read_one_secret,
    read_text,
    with_full_path,
)
from schemas.connection.properties import Property, parse_properties

URL_VARIABLE = "INSPECTION_SCHEMA_REGISTRY_URL"
CONFIG_VARIABLE = "INSPECTION_SCHEMA_REGISTRY_CONFIG"
USER, TOKEN = "basic.auth.user.info", "bearer.auth.token"
#: Variables that name a file with one secret, and its key.
SECRET_VARIABLES = {
    "INSPECTION_SCHEMA_REGISTRY_USER_FILE": USER,
    "INSPECTION_SCHEMA_REGISTRY_TOKEN_FILE": TOKEN,
    "INSPECTION_SCHEMA_REGISTRY_KEY_PASSWORD_FILE": "ssl.key.password",
}
#: All variables of the registry.
VARIABLES = (URL_VARIABLE, CONFIG_VARIABLE, *SECRET_VARIABLES)
#: Keys whose values are secret.
SECRETS = frozenset(SECRET_VARIABLES.values())
_PREFIX = "schema.registry."
_KAFKA_VARIABLE = "INSPECTION_KAFKA_CONFIG"
_PATHS = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
_ALLOWED = frozenset(
    {"url", USER, TOKEN, "bearer.auth.logical.cluster", "bearer.auth.identity.pool.id", "ssl.key.password", *_PATHS}
)
#: Keys that say where a login comes from, and their one value here.
_SOURCES = {"basic.auth.credentials.source": "USER_INFO", "bearer.auth.credentials.source": "STATIC_TOKEN"}
#: Host of this machine: a registry there gets logins in the clear.
_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1")

_IN_THE_CLEAR = "the secret would be shown to the network: the address has to begin with https://"


def load_registry_client(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return settings of the registry's client from the files that the environment names.

    They include ``url`` if the file or ``INSPECTION_SCHEMA_REGISTRY_URL``, which wins, has one.

    Raises
    ------
    SettingsError
        If a file cannot be read, can be read by others although it holds a secret, or has a line that is refused; if
        secrets belong to no address, or would be sent without TLS.

    Examples
    --------
    >>> load_registry_client({"INSPECTION_SCHEMA_REGISTRY_URL": "https://registry.plant"})
    {'url': 'https://registry.plant'}
    """
    settings = {}
    if env.get(CONFIG_VARIABLE):
        settings = _read(CONFIG_VARIABLE, Path(env[CONFIG_VARIABLE]).absolute())
    elif env.get(_KAFKA_VARIABLE):
        settings = _read(_KAFKA_VARIABLE, Path(env[_KAFKA_VARIABLE]).absolute(), REGISTRY_PREFIXES)
    for name, key in SECRET_VARIABLES.items():
        if env.get(name):
            path = Path(env[name]).absolute()
            if key in settings:
                raise settings[key].refusal(f"the same secret is in the file that {name} names; keep one of the two")
            settings[key] = Property(path, 0, key, read_one_secret(name, path))
    if env.get(URL_VARIABLE):
        settings["url"] = Property(Path(URL_VARIABLE), 0, "url", env[URL_VARIABLE])
    _check(settings)
    for key in _PATHS:
        if key in settings:
            settings[key] = with_full_path(settings[key])
    check_pass_phrase(settings, "INSPECTION_SCHEMA_REGISTRY_KEY_PASSWORD_FILE")
    return {key: entry.value for key, entry in settings.items()}


def registry_secrets(client: Iterable[tuple[str, str]]) -> list[str]:
    """Return the secrets of settings; of a user with a password the password alone.

    Examples
    --------
    >>> registry_secrets([("basic.auth.user.info", "me:pass"), ("url", "https://registry.plant")])
    ['pass']
    """
    return [value.partition(":")[2] if key == USER else value for key, value in client if key in SECRETS]


def _read(variable: str, path: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, Property]:
    text, is_secret = read_text(variable, path)
    settings: dict[str, Property] = {}
    own = (each for each in parse_properties(text, path) if each.key.startswith(prefixes))
    for entry in translate(_without_prefix(own)):
        key = entry.key
        allowed = _SOURCES.get(key) or ALWAYS.get(key)
        if allowed is not None:
            if entry.value.lower() != allowed.lower():
                raise entry.refusal(f"only {allowed} is supported")
            continue
        if key not in _ALLOWED:
            raise entry.refusal(f"not a setting of the registry; allowed are {', '.join(sorted(_ALLOWED))}")
        if not entry.value:
            raise entry.refusal("it has no value")
        check_text(entry)
        if key in settings:
            raise entry.refusal(f"the setting is in line {settings[key].line} already")
        if key in SECRETS and not is_secret:
            raise entry.refusal(READ_BY_OTHERS)
        settings[key] = entry
    return settings


def _without_prefix(entries: Iterable[Property]) -> Iterator[Property]:
    for entry in entries:
        yield replace(entry, key=entry.key.removeprefix(_PREFIX))


def _check(settings: Mapping[str, Property]) -> None:
    """Refuse settings that contradict each other, or that would show a secret to the network."""
    if not settings:
        return
    some = next(iter(settings.values()))
    if "url" not in settings:
        raise some.refusal(f"the address of the registry is missing: set schema.registry.url or {URL_VARIABLE}")
    if USER in settings and ":" not in settings[USER].value:
        raise settings[USER].refusal("it is user:password")
    if USER in settings and TOKEN in settings:
        raise settings[TOKEN].refusal("there is a user with a password too; keep one of the two")
    if any(key.startswith("bearer.auth.") for key in settings) and TOKEN not in settings:
        raise some.refusal("bearer.auth.token is missing; INSPECTION_SCHEMA_REGISTRY_TOKEN_FILE may name its file")
    if "ssl.key.location" in settings and "ssl.certificate.location" not in settings:
        raise settings["ssl.key.location"].refusal("ssl.certificate.location is missing")
    if "ssl.key.password" in settings and "ssl.key.location" not in settings:
        raise settings["ssl.key.password"].refusal("ssl.key.location is missing")
    for url in settings["url"].value.split(","):
        if url.strip().lower().startswith("https://"):
            continue
        for key, entry in settings.items():
            if key.startswith("ssl."):
                raise entry.refusal("the address of the registry has to begin with https://")
            if key in (USER, TOKEN) and not _is_loopback(url):
                raise entry.refusal(_IN_THE_CLEAR)
        if "@" in url and not _is_loopback(url):
            raise replace(settings["url"], key="schema.registry.url").refusal(_IN_THE_CLEAR)


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
        return parts.scheme == "http" and _LOOPBACK.fullmatch(parts.hostname or "") is not None
    except ValueError:
        return False
