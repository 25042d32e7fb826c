"""Users of a line: the same settings for all its programs, or a user of a secured broker for each role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from schemas import KafkaSettings
from schemas.private_files import replace_private
from schemas.roles import Principals
from tests.support.secured import add_user
from transport.acl_setup import apply_acls

_ROLES = ("camera", "worker", "gate", "operator", "reviewer")


@dataclass(frozen=True)
class LineUsers:
    """Settings of the programs of a line; ``worker_file`` is the file with the connection of its workers.

    ``admin`` may do everything. Only the test itself uses it.
    """

    admin: KafkaSettings
    camera: KafkaSettings
    worker: KafkaSettings
    gate: KafkaSettings
    operator: KafkaSettings
    reviewer: KafkaSettings
    worker_file: Path | None = None

    @classmethod
    def same(cls, kafka: KafkaSettings) -> LineUsers:
        """Return the users of a line on a broker without passwords."""
        return cls(*[kafka] * 6)

    @property
    def kind(self) -> str:
        """End of the name of a scenario."""
        return "" if self.worker_file is None else ", secured"

    def at(self, port: int) -> LineUsers:
        """Return the same users at another port of the broker."""
        every = (self.admin, self.camera, self.worker, self.gate, self.operator, self.reviewer)
        moved = [
            replace(each, bootstrap_servers=f"{each.bootstrap_servers.rpartition(':')[0]}:{port}") for each in every
        ]
        return LineUsers(*moved, self.worker_file)


def make_users(admin: KafkaSettings, folder: Path) -> LineUsers:
    """Create a user for each program of a secured line, with the rights of its role alone."""
    names = {role: f"{admin.prefix}-{role}" for role in _ROLES}
    found = {}
    for role, name in names.items():
        password = f"fau1t-pass-of-{role}"
        add_user(admin, name, password)
        client = {**dict(admin.client), "sasl.username": name, "sasl.password": password}
        found[role] = replace(admin, client=tuple(client.items()))
    # The workers join a group with the name of the prefix, see `tests.support.faults.Workers`.
    groups = {"worker": admin.prefix, "watch": f"{admin.prefix}-watch"}
    apply_acls(admin, Principals({role: (name,) for role, name in names.items()}, groups))
    file = folder / "worker.properties"
    replace_private(file, "".join(f"{key}={value}\n" for key, value in found["worker"].client).encode())
    return LineUsers(admin, *(found[role] for role in _ROLES), file)
