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
from schemas.connection.client_keys import ALWAYS, PASSED_OVER, PATHS, PEM, SECRET_PATHS, SECRETS, check_key, check_text
from schemas.connection.java_names import check_keystore, translate
from schemas.connection.properties import Property, parse_properties
from schemas.connection.secret_files import read_secret, read_trusted
from schemas.errors import SettingsError
from schemas.text import shown

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
        settings[key] = Property(path, 0, key, _secret(name, Path(env[name])))
    check_settings(settings, secrets)
    for entry in list(settings.values()):
        if entry.key in PATHS:
            settings[entry.key] = _with_full_path(entry)
    return {key: entry.value.upper() if key in _UPPER else entry.value for key, entry in settings.items()}


def _read(path: Path) -> dict[str, Property]:
    try:
        file = read_trusted(path)
        text = file.content.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{CONFIG_VARIABLE}={shown(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{CONFIG_VARIABLE}={shown(path)}: it is not UTF-8 text") from None
    settings: dict[str, Property] = {}
    for entry in translate(parse_properties(text, path)):
        check_key(entry)
        if entry.key in PEM:
            entry = replace(entry, value=entry.value.replace("\\n", "\n"))
        check_text(entry)
        if entry.key in settings:
            raise entry.refusal(f"the setting is in line {settings[entry.key].line} already")
        if entry.key in SECRETS and not file.is_secret:
            raise entry.refusal("the file holds a secret, and others can read it; `chmod o= FILE`")
        if entry.key not in ALWAYS and entry.key not in PASSED_OVER:
            settings[entry.key] = entry
    return settings


def _secret(name: str, path: Path) -> str:
    """Return the content of a file, without its last line break."""
    try:
        content = read_secret(path).decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{name}={shown(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name}={shown(path)}: it is not UTF-8 text") from None
    content = content.removesuffix("\n").removesuffix("\r")
    if not content or "\0" in content:
        raise SettingsError(f"{name}={shown(path)}: it holds no secret")
    return content


def _with_full_path(entry: Property) -> Property:
    """Return the entry with a full path; refuse a file that cannot be read, or a key that others can read."""
    if entry.key.endswith("ca.location") and entry.value == "probe":
        return entry
    path = entry.path.parent / entry.value
    try:
        if entry.key in SECRET_PATHS:
            content = read_secret(path)
            if entry.key == "ssl.keystore.location":
                check_keystore(entry, content)
        elif path.is_dir() and entry.key == "ssl.ca.location":
            pass
        else:
            read_trusted(path)
    except OSError as error:
        raise entry.refusal(f"{shown(path)}: {error.strerror}") from None
    return replace(entry, value=str(path))
