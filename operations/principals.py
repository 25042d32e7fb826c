"""File of principals: who has which role on a line, see `schemas.roles`.

::

    roles:
      camera: [press-1, press-2]
      worker: [worker-1]
    groups:
      worker: press-workers
    quotas:
      camera: {producer_byte_rate: 20000000}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.yaml_lines import LinedYaml, Location, YamlProblem, parse
from schemas.connection.secret_files import read_trusted
from schemas.errors import SettingsError
from schemas.roles import RESERVED, ROLES, Principals
from schemas.text import shown

#: Quotas of Kafka's users, and the largest value of each.
_QUOTAS = {"producer_byte_rate": 2**53, "consumer_byte_rate": 2**53, "request_percentage": 100_000}
_SECTIONS = ("roles", "groups", "quotas")
#: Longest name of a user or group.
_LONGEST = 249


class _Refused(Exception):
    """Value that is refused, by its path in the file."""

    def __init__(self, location: Location, why: str) -> None:
        super().__init__(why)
        self.location = location


def read_principals(path: Path) -> Principals:
    """Read a file of principals.

    Raises
    ------
    SettingsError
        If the file cannot be read, can be changed by others, or has a value that is refused; with file and line.
    """
    try:
        found = parse(read_trusted(path).content.decode("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{shown(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{shown(path)}, line 1: it is not UTF-8 text") from None
    except YamlProblem as error:
        raise SettingsError(f"{shown(path)}, line {error.line}: {error}") from None
    try:
        return _principals(found)
    except _Refused as error:
        raise SettingsError(f"{shown(path)}, line {found.line(error.location)}: {error}") from None


def _principals(file: LinedYaml) -> Principals:
    for name in file.data:
        if name not in _SECTIONS:
            raise _Refused((name,), f"{shown(name)} is none of {', '.join(_SECTIONS)}")
    roles = {}
    for role, users in _section(file.data, "roles"):
        if not isinstance(users, list) or not users:
            raise _Refused(("roles", role), f"{role}: a list of users, such as [press-1, press-2]")
        for index, user in enumerate(users):
            _check_name(user, ("roles", role, index), "a user")
            if user in users[:index]:
                raise _Refused(("roles", role, index), f"{shown(user)} is a {role} twice")
        roles[role] = tuple(users)
    if not roles:
        raise _Refused(("roles",), "roles is missing, or empty: who is to have rights?")
    groups = {}
    for role, group in _section(file.data, "groups"):
        _check_name(group, ("groups", role), "a group")
        if ROLES[role].joins is None:
            raise _Refused(("groups", role), f"a {role} joins no group")
        groups[role] = group
    quotas = {role: _quotas(role, values) for role, values in _section(file.data, "quotas")}
    return Principals(roles, groups, quotas)


def _section(data: Mapping[str, Any], section: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a section; each key is a role."""
    entries = data.get(section)
    if entries is None:
        return
    if not isinstance(entries, dict):
        raise _Refused((section,), f"{section}: lines of `role: value`")
    for role, value in entries.items():
        if role in RESERVED:
            raise _Refused((section, role), f"the role {role} is not in use yet: it has no rights")
        if role not in ROLES:
            raise _Refused((section, role), f"{shown(role)} is no role; choose from {', '.join(ROLES)}")
        yield role, value


def _check_name(name: object, location: Location, what: str) -> None:
    if not isinstance(name, str):
        raise _Refused(location, f"{what} is a text; put it into quotes")
    if not name or not name.isprintable() or name != name.strip() or len(name) > _LONGEST:
        raise _Refused(location, f"{shown(name)} is not {what}: 1 to {_LONGEST} characters without blanks around them")
    if name == "*":
        raise _Refused(location, f"* stands for all of them; name {what}")
    if name.startswith("User:"):
        raise _Refused(location, f"{shown(name)}: leave User: out")


def _quotas(role: str, values: object) -> dict[str, int]:
    if not isinstance(values, dict) or not values:
        raise _Refused(("quotas", role), f"{role}: values such as {{producer_byte_rate: 20000000}}")
    for name, value in values.items():
        location = ("quotas", role, name)
        if name not in _QUOTAS:
            raise _Refused(location, f"{shown(name)} is no quota; choose from {', '.join(_QUOTAS)}")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _QUOTAS[name]:
            raise _Refused(location, f"{name}: a whole number from 1 to {_QUOTAS[name]}")
    return values
