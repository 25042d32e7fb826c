"""Files that a variable or a line of a properties file names: settings, single secrets, certificates and keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from schemas.connection.client_keys import SECRET_PATHS
from schemas.connection.java_names import check_keystore
from schemas.connection.properties import Property
from schemas.connection.secret_files import read_secret, read_trusted
from schemas.errors import SettingsError
from schemas.text import shown

#: Refusal of a line with a secret.
READ_BY_OTHERS = "the file holds a secret, and others can read it; `chmod o= FILE`"

#: Private key with a pass phrase, as PKCS#8 and in OpenSSL's older form.
_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")


def read_text(variable: str, path: Path) -> tuple[str, bool]:
    """Return the text of a properties file, and True if others cannot read it.

    Parameters
    ----------
    variable
        Environment variable that names the file, for errors.

    Raises
    ------
    SettingsError
        If it cannot be read, or others can write it.
    """
    try:
        file = read_trusted(path)
        return file.content.decode("utf-8-sig"), file.is_secret
    except OSError as error:
        raise SettingsError(f"{variable}={shown(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}={shown(path)}: it is not UTF-8 text") from None


def read_one_secret(variable: str, path: Path) -> str:
    """Return the content of a file with one secret, without its last line break.

    Raises
    ------
    SettingsError
        If it cannot be read, is empty, or others can read it.
    """
    try:
        content = read_secret(path).decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{variable}={shown(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}={shown(path)}: it is not UTF-8 text") from None
    content = content.removesuffix("\n").removesuffix("\r")
    if not content or "\0" in content:
        raise SettingsError(f"{variable}={shown(path)}: it holds no secret")
    return content


def with_full_path(entry: Property) -> Property:
    """Return a line whose value is a path, with a full path.

    Raises
    ------
    SettingsError
        If the file cannot be read, or others can read a private key.
    """
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


def check_pass_phrase(settings: Mapping[str, Property], variable: str) -> None:
    """Refuse a private key whose pass phrase is not given. A client in Python would wait for it at the terminal.

    Parameters
    ----------
    settings
        Lines by key, with full paths.
    variable
        Environment variable that may name a file with the pass phrase, for the error.

    Raises
    ------
    SettingsError
        If the key has a pass phrase that the settings do not give.
    """
    if "ssl.key.password" in settings:
        return
    # One PEM file may hold the certificate and the key.
    names = ("ssl.key.location", "ssl.key.pem", "ssl.certificate.location")
    entry = next((settings[name] for name in names if name in settings), None)
    if entry is None:
        return
    try:
        is_text = entry.key == "ssl.key.pem"
        content = entry.value.encode() if is_text else read_trusted(Path(entry.value)).content
    except OSError as error:
        raise entry.refusal(f"{shown(entry.value)}: {error.strerror}") from None
    if _ENCRYPTED.search(content):
        raise entry.refusal(f"the private key has a pass phrase; {variable} may name a file that has it")
