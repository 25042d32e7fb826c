"""Client configuration from the environment: a properties file, and files with one secret each.

| variable | names a file with |
|---|---|
| ``INSPECTION_KAFKA_CONFIG`` | ``key=value`` lines, in the names of librdkafka or of Java's clients |
| ``INSPECTION_KAFKA_PASSWORD_FILE`` | the password of the user |
| ``INSPECTION_KAFKA_KEY_PASSWORD_FILE`` | the pass phrase of the private key, or of the PKCS#12 keystore |
| ``INSPECTION_KAFKA_CLIENT_SECRET_FILE`` | the secret of an OAuth client |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from schemas.connection.checks import check_settings
from schemas.connection.client_keys import (
    ALWAYS,
    PASSED_OVER,
    PATHS,
    PEM,
    REGISTRY_PREFIXES,
    SECRETS,
    check_key,
    check_text,
)
from schemas.connection.java_names import translate
from schemas.connection.named_files import (
    READ_BY_OTHERS,
    check_pass_phrase,
    read_one_secret,
    read_text,
    with_full_path,
)
from schemas.connection.properties import Property, parse_properties
from schemas.errors import SettingsError

CONFIG_VARIABLE = "INSPECTION_KAFKA_CONFIG"
#: Variables that name a file with one secret, and its key.
SECRET_VARIABLES = {
    "INSPECTION_KAFKA_PASSWORD_FILE": "sasl.password",
    "INSPECTION_KAFKA_KEY_PASSWORD_FILE": "ssl.key.password",
    "INSPECTION_KAFKA_CLIENT_SECRET_FILE": "sasl.oauthbearer.client.secret",
}
#: All variables of this module.
VARIABLES = (CONFIG_VARIABLE, *SECRET_VARIABLES)
_UPPER = ("security.protocol", "sasl.mechanisms")


def load_client_config(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return settings of librdkafka from the files that the environment names; empty without ``CONFIG_VARIABLE``.

    The settings may include ``bootstrap.servers``.

    Raises
    ------
    SettingsError
        If a file cannot be read, can be read by others although it holds a secret, or has a line that is refused.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "client.properties"
    >>> _ = path.write_text("security.protocol=SSL\\nssl.truststore.type=PEM\\nssl.truststore.location=/etc/ssl/ca.pem")
    >>> load_client_config({"INSPECTION_KAFKA_CONFIG": str(path)})
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: .../client.properties, line 3 (ssl.ca.location): /etc/ssl/ca.pem: No such ...
    """
    secrets = {key: name for name, key in SECRET_VARIABLES.items() if env.get(name)}
    if not env.get(CONFIG_VARIABLE):
        for name in secrets.values():
            raise SettingsError(f"{name} is set, but {CONFIG_VARIABLE}, the file that the secret belongs to, is not")
        return {}
    path = Path(env[CONFIG_VARIABLE]).absolute()
    settings = _read(path)
    if "ssl.keystore.location" in settings and "ssl.key.password" in secrets:
        secrets["ssl.keystore.password"] = secrets.pop("ssl.key.password")
    for key, name in secrets.items():
        if key in settings:
            raise settings[key].refusal(f"the same secret is in the file that {name} names; keep one of the two")
        settings[key] = Property(path, 0, key, read_one_secret(name, Path(env[name])))
    check_settings(settings, secrets)
    for entry in list(settings.values()):
        if entry.key in PATHS:
            settings[entry.key] = with_full_path(entry)
    check_pass_phrase(settings, "INSPECTION_KAFKA_KEY_PASSWORD_FILE")
    return {key: entry.value.upper() if key in _UPPER else entry.value for key, entry in settings.items()}


def _read(path: Path) -> dict[str, Property]:
    text, is_secret = read_text(CONFIG_VARIABLE, path)
    settings: dict[str, Property] = {}
    own = (each for each in parse_properties(text, path) if not each.key.startswith(REGISTRY_PREFIXES))
    for entry in translate(own):
        check_key(entry)
        if entry.key in PEM:
            entry = replace(entry, value=entry.value.replace("\\n", "\n"))
        check_text(entry)
        if entry.key in settings:
            raise entry.refusal(f"the setting is in line {settings[entry.key].line} already")
        if entry.key in SECRETS and not is_secret:
            raise entry.refusal(READ_BY_OTHERS)
        if entry.key not in ALWAYS and entry.key not in PASSED_OVER:
            settings[entry.key] = entry
    return settings
