"""`inspection acls`: rights of each program's user on the topics of a line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.audited import warn
from infra.cli.shared.options import BOOTSTRAP_DEFAULT, PREFIX_DEFAULT, BootstrapServers, Json, Prefix, kafka_settings
from infra.cli.shared.terminal_text import echo, echo_json, shown

if TYPE_CHECKING:
    from operations.trail.record import Deed
    from schemas.roles import Grant, Principals
    from transport.acl_setup import AppliedAcls, Excess

app = typer.Typer(no_args_is_help=True, help="Rights on the topics: one user of Kafka for each program and camera.")

_File = Annotated[
    Path, typer.Option("--principals", help="YAML file: who has which role (docs/security.md).", show_default=False)
]


@app.command()
def show(
    principals: _File,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Print the commands that create the ACLs and quotas, for the administrators of the cluster. No broker is asked."""
    from operations.principals import read_principals
    from schemas.roles import grants_of

    kafka = kafka_settings(bootstrap_servers, prefix)
    found = read_principals(principals)
    grants = grants_of(found, kafka.prefix)
    acls = list(_acl_commands(kafka.bootstrap_servers, grants))
    quotas = list(_quota_commands(kafka.bootstrap_servers, found))
    if as_json:
        rows = [_row(grant) for grant in grants]
        echo_json({"prefix": kafka.prefix, "acls": rows, "commands": acls, "quota_commands": quotas})
        return
    echo("# ADMIN.properties: the file of a user who may ALTER the cluster")
    for line in (*acls, *quotas):
        echo(line)


@app.command()
def apply(
    principals: _File,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove ACLs on the line's resources that the file does not ask for.")
    ] = False,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=3600, help="Seconds that the cluster may take to answer.")
    ] = 10.0,
    as_json: Json = False,
) -> None:
    """Create the missing ACLs, report those that are too much, and wait until the brokers obey."""
    from dataclasses import asdict

    from operations.principals import read_principals
    from operations.trail.record import Act, has_audit_log, record_done
    from transport.acl_setup import apply_acls

    kafka = kafka_settings(bootstrap_servers, prefix)
    found = read_principals(principals)
    is_recorded = has_audit_log(kafka, Act.ACLS_APPLY, warn)
    applied = apply_acls(kafka, found, prune=prune, timeout_s=timeout_s)
    if is_recorded and (applied.created or applied.removed):
        record_done(kafka, _deed(principals, applied), warn)
    quotas = list(_quota_commands(kafka.bootstrap_servers, found))
    if as_json:
        echo_json(
            {
                "prefix": kafka.prefix,
                "present": applied.present,
                "created": [_row(grant) for grant in applied.created],
                "removed": [asdict(each) for each in applied.removed],
                "excess": [asdict(each) for each in applied.excess],
                "quota_commands": quotas,
            }
        )
        return
    echo(f"{len(applied.created)} ACLs created, {applied.present} were there, {len(applied.removed)} removed")
    for each in applied.excess:
        echo(f"too much: {_text(each)}", err=True)
    if any(not each.is_wide for each in applied.excess):
        echo("--prune removes ACLs of the line that are too much", err=True)
    if quotas:
        echo("quotas are not set by this command; the administrators of the cluster run:", err=True)
    for line in quotas:
        echo(line)


def _deed(file: Path, applied: AppliedAcls) -> Deed:
    from operations.trail.record import Act, Deed

    created = sorted({f"{grant.user} as {grant.role}" for grant in applied.created})
    after = f"{len(applied.created)} ACLs created: {', '.join(created)}; {len(applied.removed)} removed: "
    return Deed(Act.ACLS_APPLY, str(file), after=after + ", ".join(map(_text, applied.removed)))


def _row(grant: Grant) -> dict[str, Any]:
    right = grant.right
    return {
        "user": grant.user,
        "role": grant.role,
        "kind": right.kind,
        "name": right.name,
        "is_prefix": right.is_prefix,
        "operation": right.operation,
    }


def _text(each: Excess) -> str:
    name = f"{each.name}*" if each.is_prefix else each.name
    verb = "may" if each.permission == "ALLOW" else "is denied to"
    wide = " (it covers more than this line, denies, or is of a newer Kafka: remove it by hand)" if each.is_wide else ""
    return f"{shown(each.user)} {verb} {each.operation} the {each.kind} {shown(name)}{wide}"


def _acl_commands(servers: str, grants: Iterable[Grant]) -> Iterator[str]:
    """Yield a command for each user and resource."""
    operations: dict[tuple[str, str, str, bool], list[str]] = {}
    for grant in grants:
        right = grant.right
        operations.setdefault((grant.user, right.kind, right.name, right.is_prefix), []).append(right.operation)
    for (user, kind, name, is_prefix), names in operations.items():
        words = ["kafka-acls.sh", "--bootstrap-server", servers, "--command-config", "ADMIN.properties", "--add"]
        words += ["--allow-principal", f"User:{user}"]
        for operation in names:
            words += ["--operation", operation.title().replace("_", "")]
        words += [f"--{kind}", name, *(("--resource-pattern-type", "prefixed") if is_prefix else ())]
        yield shlex.join(words)


def _quota_commands(servers: str, principals: Principals) -> Iterator[str]:
    """Yield a command for each user with quotas. The client library cannot set them."""
    for role, quotas in principals.quotas.items():
        values = ",".join(f"{name}={value}" for name, value in quotas.items())
        for user in principals.roles.get(role, ()):
            words = ["kafka-configs.sh", "--bootstrap-server", servers, "--command-config", "ADMIN.properties"]
            words += ["--alter", "--add-config", values, "--entity-type", "users", "--entity-name", user]
            yield shlex.join(words)
