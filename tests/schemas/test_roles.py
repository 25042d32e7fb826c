"""The table of roles: in the documentation as in the code, and with nothing that a program does not need."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.roles import RESERVED, ROLES, Principals, Role, grants_of, rights_of

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def groups(role: Role) -> str:
    """Return the groups of a role as the documentation has them."""
    rights = [each for each in rights_of(role) if each.kind == "group"]
    parts = []
    for operation in ("READ", "DESCRIBE"):
        names = [f"`{each.name}{'*' * each.is_prefix}`" for each in rights if each.operation == operation]
        parts += [f"{operation} {', '.join(names)}"] if names else []
    return "; ".join(parts)


def test_the_documentation_has_the_table() -> None:
    rows = {}
    for line in TEXT.splitlines():
        found = re.fullmatch(r"\| `(\w+)` \|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|", line)
        if found:
            rows[found[1]] = tuple(text.strip() for text in found.groups()[1:])
    wanted = {
        role.name: (
            ", ".join(topic.suffix for topic in role.reads),
            ", ".join(topic.suffix for topic in role.writes),
            groups(role),
        )
        for role in ROLES.values()
    }
    assert rows == wanted
    assert all(f"`{name}`" in TEXT for name in RESERVED)


def test_only_programs_of_the_line_decide_and_only_people_label() -> None:
    writers = {
        topic: {role.name for role in ROLES.values() if topic in {each.suffix for each in role.writes}}
        for topic in ("frames", "decisions", "labels", "drift", "drift-state", "signing-keys", "http-keys")
    }
    assert writers == {
        "frames": {"camera", "gateway", "operator"},
        "decisions": {"worker"},
        "labels": {"gateway", "labeller", "operator"},
        "drift": {"watch", "operator"},
        "drift-state": {"watch"},
        "signing-keys": {"platform"},
        "http-keys": {"gateway"},
    }


def test_a_user_with_two_roles_has_each_right_once() -> None:
    grants = grants_of(Principals({"reviewer": ("ann",), "operator": ("ann",)}), "plant7")
    assert len({(grant.user, grant.right) for grant in grants}) == len(grants)


def test_groups_of_a_simulated_line_and_names_of_ones_own() -> None:
    def joined(prefix: str, group: str | None = None) -> list[str]:
        rights = rights_of(ROLES["worker"], prefix, group)
        return [each.name for each in rights if each.kind == "group" and each.operation == "READ"]

    assert joined("plant7") == ["inspection-workers", "inspection-workers-redundant"]
    assert joined("plant7.replay") == ["inspection-workers-plant7.replay", "inspection-workers-plant7.replay-redundant"]
    assert joined("plant7", "mine") == ["mine", "mine-redundant"]
