"""Comparison of a cluster's ACLs with the rights that a line needs, and creation of what is missing.

ACLs beyond those are reported, and removed only when asked. Kafka stores an ACL before its brokers obey it, and
`apply_acls` waits until they do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from schemas.errors import InspectionError, NotAuthorised
from schemas.roles import ROLES, Grant, Principals, grants_of, rights_of
from schemas.settings import KafkaSettings
from transport.broker_cause import FirstError, broker_error
from transport.clients import AdminClient, make_admin
from transport.cluster_metadata import fetch_metadata

_TIMEOUT_S = 10.0
_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}
_USER = "User:"
#: Kind, name, pattern, user, host, operation, permission.
_ANY: tuple[Any, ...] = (
    ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY,
)  # fmt: skip
#: Answers in a row that show all ACLs, for each broker of a cluster: the client does not choose which one answers.
_ROUNDS = 3
_REFUSALS = {KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED}


class AclsError(InspectionError):
    """Error: the cluster has no ACLs, refuses one, or does not obey it in time."""


@dataclass(frozen=True, slots=True)
class Excess:
    """ACL on a resource of a line, or of its users on the cluster, that the file of principals does not ask for.

    Parameters
    ----------
    operation
        ``UNKNOWN`` if this client has no name for it, as for one of a later version of Kafka.
    is_wide
        True if it also covers resources of others, as that of a ``*`` does; if it denies; or if its operation is
        unknown. It is never removed.
    """

    user: str
    kind: str
    name: str
    is_prefix: bool
    operation: str
    permission: str
    is_wide: bool


@dataclass(frozen=True, slots=True)
class AppliedAcls:
    """Result of `apply_acls`."""

    created: tuple[Grant, ...]
    present: int
    excess: tuple[Excess, ...]
    removed: tuple[Excess, ...]


def apply_acls(
    kafka: KafkaSettings, principals: Principals, *, prune: bool = False, timeout_s: float = _TIMEOUT_S
) -> AppliedAcls:
    """Create the missing ACLs of a line, and wait until the cluster obeys them.

    Parameters
    ----------
    prune
        Remove the ACLs on the line's resources that the principals do not ask for.

    Raises
    ------
    BrokerUnavailable
        If no broker answers in time.
    NotAuthorised
        If the user may not read or change ACLs.
    AclsError
        If the cluster has no authorizer, refuses an ACL, or does not obey in time.
    """
    first = FirstError()
    admin = make_admin(kafka, 9_000, first)
    brokers = len(fetch_metadata(kafka, admin, first, timeout_s).brokers)
    grants = grants_of(principals, kafka.prefix)
    wanted = {_binding(grant): grant for grant in grants}
    present = _read(kafka, admin, timeout_s)
    excess = {
        binding: _excess(binding, is_wide)
        for binding in sorted(present - set(wanted))
        if (is_wide := _reaches(binding, kafka.prefix, principals)) is not None
    }
    missing = [binding for binding in wanted if binding not in present]
    if missing:
        _change(kafka, admin.create_acls(missing, request_timeout=timeout_s).values(), timeout_s)
    surplus = [binding for binding, each in excess.items() if prune and not each.is_wide]
    if surplus:
        exact = [AclBindingFilter(*binding._to_tuple()) for binding in surplus]
        _change(kafka, admin.delete_acls(exact, request_timeout=timeout_s).values(), timeout_s)
    if missing or surplus:
        _await(kafka, brokers, timeout_s, lambda found: set(missing) <= found and not set(surplus) & found)
    return AppliedAcls(
        created=tuple(wanted[binding] for binding in missing),
        present=len(wanted) - len(missing),
        excess=tuple(each for binding, each in excess.items() if binding not in surplus),
        removed=tuple(excess[binding] for binding in surplus),
    )


def _binding(grant: Grant) -> AclBinding:
    right = grant.right
    pattern = ResourcePatternType.PREFIXED if right.is_prefix else ResourcePatternType.LITERAL
    operation, allow = AclOperation[right.operation], AclPermissionType.ALLOW
    return AclBinding(_KINDS[right.kind], right.name, pattern, _USER + grant.user, "*", operation, allow)


def _excess(binding: AclBinding, is_wide: bool) -> Excess:
    kinds = {kind: name for name, kind in _KINDS.items()}
    return Excess(
        user=binding.principal.removeprefix(_USER),
        kind=kinds[ResourceType(binding.restype)],
        name=binding.name,
        is_prefix=binding.resource_pattern_type is ResourcePatternType.PREFIXED,
        operation=AclOperation(binding.operation).name,
        permission=AclPermissionType(binding.permission_type).name,
        is_wide=is_wide,
    )


def _reaches(binding: AclBinding, prefix: str, principals: Principals) -> bool | None:
    """Return None if an ACL is not about this line; else True if it must not be removed with the line's own."""
    ours = _resources(prefix, principals)
    is_prefix = binding.resource_pattern_type is ResourcePatternType.PREFIXED
    place = (ResourceType(binding.restype), binding.name, is_prefix)
    users = {_USER + user for names in principals.roles.values() for user in names}
    if place[0] is ResourceType.BROKER:
        return True if binding.principal in users | {f"{_USER}*"} else None  # no role has a right on the cluster
    if place in ours:
        is_plain = binding.permission_type is AclPermissionType.ALLOW and binding.operation != AclOperation.UNKNOWN
        is_about = ours[place] or binding.principal in users
        return not is_plain if is_about else None
    covers = any(
        kind is place[0] and (binding.name == "*" or (is_prefix and name.startswith(binding.name)))
        for (kind, name, _), is_private in ours.items()
        if is_private
    )
    return True if covers else None


def _resources(prefix: str, principals: Principals) -> dict[tuple[ResourceType, str, bool], bool]:
    """Return the resources of a line; True if they are of this line alone. Groups that nobody joins are everyone's."""
    found: dict[tuple[ResourceType, str, bool], bool] = {}
    for role in ROLES.values():
        for right in rights_of(role, prefix, principals.groups.get(role.name)):
            is_private = right.kind != "group" or right.operation == "READ"
            place = (_KINDS[right.kind], right.name, right.is_prefix)
            found[place] = found.get(place, False) or is_private
    return found


def _read(kafka: KafkaSettings, admin: AdminClient, timeout_s: float) -> set[AclBinding]:
    try:
        return set(admin.describe_acls(AclBindingFilter(*_ANY), request_timeout=timeout_s).result(timeout_s + 1))
    except (KafkaException, TimeoutError) as error:
        raise _error(kafka, error, "DESCRIBE") from error


def _change(kafka: KafkaSettings, futures: Iterable[Any], timeout_s: float) -> None:
    for future in futures:
        try:
            future.result(timeout_s + 1)
        except (KafkaException, TimeoutError) as error:
            raise _error(kafka, error, "ALTER") from error


def _error(kafka: KafkaSettings, error: Exception, operation: str) -> InspectionError:
    if not isinstance(error, KafkaException):
        return broker_error(kafka, "no answer in time")
    code = error.args[0].code()
    if code in _REFUSALS:
        return NotAuthorised("cluster", "kafka-cluster", operation)
    if code == KafkaError.SECURITY_DISABLED:
        return AclsError(
            f"{kafka.bootstrap_servers} has no authorizer: everybody may do everything, and ACLs change nothing; set "
            "authorizer.class.name on its brokers"
        )
    if code < 0:  # from the client itself
        return broker_error(kafka, error.args[0].str())
    return AclsError(f"{kafka.bootstrap_servers} refuses to change ACLs: {error.args[0].str()}")


def _await(kafka: KafkaSettings, brokers: int, timeout_s: float, is_done: Callable[[set[AclBinding]], bool]) -> None:
    """Wait until the cluster shows the change. A broker answers with the ACLs that it obeys."""
    until_s = time.monotonic() + timeout_s
    needed = 1 if brokers == 1 else _ROUNDS * brokers
    shown = 0
    while shown < needed:
        # Each new client may ask another broker.
        shown = shown + 1 if is_done(_read(kafka, make_admin(kafka, 9_000), timeout_s)) else 0
        if shown == 0:
            if time.monotonic() > until_s:
                raise AclsError(f"the ACLs are stored, but {kafka.bootstrap_servers} does not obey all of them yet")
            time.sleep(0.05)
