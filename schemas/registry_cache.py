"""Ids of a schema registry on disk, for programs that start while it does not answer.

A registry never gives an id to another schema, so ids that it gave once stay right. They are used only while it is
silent. A file belongs to one registry and one set of topics and schemas: another version of this project asks anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.addresses import masked_address
from schemas.compiled_schemas import compiled
from schemas.errors import SettingsError
from schemas.private_files import make_private_folder, read_private, replace_private
from schemas.user_folders import user_folder

log = logging.getLogger(__name__)

#: Topics of each record class.
Topics = Mapping[type, Sequence[str]]


@dataclass(frozen=True, slots=True)
class RegistryIdMap:
    """Fingerprints by id, and the id of the current schema of each record class in each topic."""

    schema_ids: Mapping[int, bytes]
    own: Mapping[tuple[type, str], int]


def read_ids(url: str, topics: Topics) -> RegistryIdMap | None:
    """Return the ids that a registry gave before; None if it gave none, or if the file cannot be used."""
    try:
        found = json.loads(read_private(_path(url, topics)))
        schema_ids = {int(number): bytes.fromhex(text) for number, text in found["schema_ids"].items()}
        own = {(record, name): found["own"][name] for record, names in topics.items() for name in names}
        is_right = all(schema_ids[number] == compiled(record).fingerprint for (record, _), number in own.items())
    except (OSError, SettingsError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return RegistryIdMap(schema_ids, own) if is_right else None


def write_ids(url: str, topics: Topics, ids: RegistryIdMap) -> None:
    """Keep the ids of a registry. A folder that cannot be written costs a later start without the registry only."""
    if url.startswith("mock:"):
        return
    schema_ids = {str(number): fingerprint.hex() for number, fingerprint in ids.schema_ids.items()}
    content = {"schema_ids": schema_ids, "own": {name: number for (_, name), number in ids.own.items()}}
    try:
        path = _path(url, topics)
        make_private_folder(path.parent)
        replace_private(path, json.dumps(content).encode(), sync=False)
    except (OSError, SettingsError) as error:
        log.debug("ids of the schema registry are not kept: %s", error)


def _path(url: str, topics: Topics) -> Path:
    # A password in the address is no part of the name.
    parts = [masked_address(url, with_path=True)]
    parts += [f"{name} {compiled(record).fingerprint.hex()}" for record, names in topics.items() for name in names]
    digest = hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
    return user_folder("state") / "registry" / f"{digest[:32]}.json"
