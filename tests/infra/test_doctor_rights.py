"""`inspection doctor` under roles that may see a part of a line only."""

from __future__ import annotations

import pytest

from infra.doctor.project_checks import topics
from schemas.roles import Principals
from schemas.topics import TOPICS
from tests.support.secured import SecuredBroker
from transport.acl_setup import apply_acls

pytestmark = pytest.mark.broker

PASSWORD = "d0ctor-pass-of-the-suite"
CASES = {
    "camera": ("warn", "1 under '{0}'; this user may not see {0}.decisions"),
    "reviewer": ("warn", "7 under '{0}' are there; settings not compared: the user may not DESCRIBE_CONFIGS the topic"),
    "platform": ("ok", f"{len(TOPICS)} under '{{0}}'"),
}


def test_a_missing_right_is_a_warning(secured: SecuredBroker, unique: str) -> None:
    secured.create_topics(unique)
    users = {role: (f"{unique}-{role}",) for role in CASES}
    for [user] in users.values():
        secured.add_user(user, PASSWORD)
    apply_acls(secured.settings(unique), Principals(users))
    for role, (status, text) in CASES.items():
        found = topics(secured.settings(unique, secured.lines_of(*users[role], PASSWORD)))
        assert (found.status, found.detail[: len(text.format(unique))]) == (status, text.format(unique))
        assert bool(found.remedy) == (status == "warn")
