"""ACLs of a line: created once, what is too much reported, removed only when asked, never beyond the line."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from infra.broker import LocalBroker
from schemas import KafkaSettings
from schemas.errors import NotAuthorised
from schemas.roles import Principals, grants_of
from tests.support.secured import STRANGER, SecuredBroker
from transport.acl_setup import AclsError, _reaches, apply_acls
from transport.clients import make_admin

pytestmark = pytest.mark.broker

ALLOW, DENY = AclPermissionType.ALLOW, AclPermissionType.DENY
LITERAL, PREFIXED = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED


def binding(
    user: str,
    name: str,
    operation: AclOperation = AclOperation.READ,
    kind: ResourceType = ResourceType.TOPIC,
    pattern: ResourcePatternType = LITERAL,
    permission: AclPermissionType = ALLOW,
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, permission)


def test_created_once_and_pruned_on_request(secured: SecuredBroker, unique: str) -> None:
    kafka = secured.settings(unique)
    # Groups of its own: on the broker of the suite other tests have users, too.
    groups = {"worker": f"{unique}-w", "watch": f"{unique}-v"}
    line = Principals({"camera": ("press-1", "press-2"), "worker": ("worker-1",)}, groups)
    grants = grants_of(line, unique)
    applied = apply_acls(kafka, line)
    assert set(applied.created) == set(grants)
    assert (applied.present, applied.excess, applied.removed) == (0, (), ())
    again = apply_acls(kafka, line)
    assert (again.created, again.present, again.excess) == ((), len(grants), ())

    admin = make_admin(kafka)
    strange = [
        binding("press-1", f"{unique}.decisions", AclOperation.WRITE),
        binding("gone", groups["worker"], kind=ResourceType.GROUP),
        binding("gone", f"{unique}.frames", permission=DENY),
        binding("gone", unique, pattern=PREFIXED),
        # Not about this line: the topic of another one, and a group that no program joins.
        binding("gone", f"{unique}.replay.frames"),
        binding("gone", "inspection-reader", AclOperation.DESCRIBE, ResourceType.GROUP),
    ]
    for created in admin.create_acls(strange).values():
        created.result(20)
    try:
        smaller = Principals({"camera": ("press-1",), "worker": ("worker-1",)}, groups)
        found = {(each.user, each.name, each.operation, each.is_wide) for each in apply_acls(kafka, smaller).excess}
        own = {
            ("press-1", f"{unique}.decisions", "WRITE", False),
            ("gone", groups["worker"], "READ", False),
            ("press-2", f"{unique}.frames", "WRITE", False),
            ("press-2", f"{unique}.frames", "DESCRIBE_CONFIGS", False),
        }
        wide = {("gone", f"{unique}.frames", "READ", True), ("gone", unique, "READ", True)}
        assert found == own | wide
        pruned = apply_acls(kafka, smaller, prune=True)
        assert {(each.user, each.name, each.operation, each.is_wide) for each in pruned.removed} == own
        assert {(each.user, each.name, each.operation, each.is_wide) for each in pruned.excess} == wide
        left = apply_acls(kafka, smaller)
        assert (left.created, left.present) == ((), len(grants_of(smaller, unique)))
    finally:
        apply_acls(kafka, Principals({}, groups), prune=True)


def test_rights_on_the_cluster_are_reported(secured: SecuredBroker, unique: str) -> None:
    """Whoever may ALTER the cluster may give himself any right, whatever the table of roles says."""
    kafka, admin = secured.settings(unique), make_admin(secured.settings(unique))
    line = Principals({"camera": (f"{unique}-camera",)})
    cluster = [
        binding(user, "kafka-cluster", operation, ResourceType.BROKER)
        for user, operation in ((f"{unique}-camera", AclOperation.ALTER), (f"{unique}-else", AclOperation.CREATE))
    ]
    for created in admin.create_acls(cluster).values():
        created.result(20)
    try:
        for found in (apply_acls(kafka, line), apply_acls(kafka, line, prune=True)):
            [excess] = found.excess
            assert (excess.user, excess.kind, excess.operation) == (f"{unique}-camera", "cluster", "ALTER")
            assert (excess.is_wide, found.removed) == (True, ())
    finally:
        for deleted in admin.delete_acls([AclBindingFilter(*each._to_tuple()) for each in cluster]).values():
            deleted.result(20)
        apply_acls(kafka, Principals({}), prune=True)


@pytest.mark.parametrize("name", ["press-dead-letters-retry", "*"])
def test_an_operation_of_a_newer_kafka_is_reported_and_never_removed(name: str) -> None:
    found = binding("press-1", name, AclOperation.UNKNOWN, ResourceType.TRANSACTIONAL_ID)
    assert _reaches(found, "press", Principals({"camera": ("press-1",)})) is True


def test_who_may_not(secured: SecuredBroker, unique: str) -> None:
    kafka = secured.settings(unique, secured.properties(STRANGER))
    with pytest.raises(NotAuthorised, match="may not ALTER the cluster kafka-cluster; allow ALTER"):
        apply_acls(kafka, Principals({"camera": ("press-1",)}))


def test_a_cluster_without_an_authorizer(broker: LocalBroker) -> None:
    with pytest.raises(AclsError, match="has no authorizer: everybody may do everything") as caught:
        apply_acls(KafkaSettings(broker.bootstrap_servers), Principals({"camera": ("press-1",)}))
    assert "\n" not in str(caught.value)
