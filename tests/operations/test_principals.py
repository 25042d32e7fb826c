"""The file of principals: what it says, and one line with file and line for what it may not say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.principals import read_principals
from schemas.errors import SettingsError
from schemas.roles import RESERVED, ROLES, Principals

GOOD = """\
roles:
  camera: [press-1, "cert-CN=press 2,O=plant"]
  worker: [worker-1]
groups:
  worker: press-workers
quotas:
  camera: {producer_byte_rate: 20000000}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "principals.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o644)
    return path


def test_all_sections(tmp_path: Path) -> None:
    assert read_principals(write(tmp_path, GOOD)) == Principals(
        {"camera": ("press-1", "cert-CN=press 2,O=plant"), "worker": ("worker-1",)},
        {"worker": "press-workers"},
        {"camera": {"producer_byte_rate": 20_000_000}},
    )


#: Text -> line and reason.
GARBAGE = {
    "empty": ("", 1, "expected `key: value` lines"),
    "no yaml": ("roles:\n  camera: [a\n", 3, "not YAML"),
    "bytes": ("roles:\n  camera: [\udcff]\n", 1, "it is not UTF-8 text"),
    "a list": ("- camera\n", 1, "expected `key: value` lines"),
    "no roles": ("groups:\n  worker: w\n", 1, "roles is missing, or empty"),
    "empty roles": ("roles: {}\n", 1, "roles is missing, or empty"),
    "roles in a list": ("roles: [camera]\n", 1, "lines of `role: value`"),
    "unknown section": ("role:\n  camera: [a]\n", 1, "role is none of roles, groups, quotas"),
    "unknown role": ("roles:\n  camera: [a]\n  boss: [b]\n", 3, "boss is no role; choose from camera, worker"),
    "a role of later": ("roles:\n  deployer: [a]\n", 2, "the role deployer is not in use yet"),
    "one user": ("roles:\n  camera: press-1\n", 2, "a list of users"),
    "no user": ("roles:\n  camera: []\n", 2, "a list of users"),
    "twice": ("roles:\n  camera:\n    - a\n    - a\n", 4, "a is a camera twice"),
    "a number": ("roles:\n  camera:\n    - 12\n", 3, "a user is a text; put it into quotes"),
    "nested": ("roles:\n  camera:\n    - [a]\n", 3, "a user is a text"),
    "everybody": ('roles:\n  camera: ["*"]\n', 2, "* stands for all of them"),
    "with its kind": ("roles:\n  camera: ['User:a']\n", 2, "leave User: out"),
    "blanks": ("roles:\n  camera: [' a']\n", 2, "without blanks around them"),
    "control characters": ('roles:\n  camera: ["a\\e[2J"]\n', 2, "is not a user"),
    "long": (f"roles:\n  camera: [{'a' * 250}]\n", 2, "is not a user"),
    "a group nobody joins": ("roles:\n  camera: [a]\ngroups:\n  camera: g\n", 4, "a camera joins no group"),
    "unknown quota": ("roles:\n  camera: [a]\nquotas:\n  camera:\n    speed: 1\n", 5, "speed is no quota"),
    "a quota of zero": (
        "roles:\n  camera: [a]\nquotas:\n  camera:\n    producer_byte_rate: 0\n", 5, "a whole number from 1",
    ),
    "a quota of yes": (
        "roles:\n  camera: [a]\nquotas:\n  camera:\n    producer_byte_rate: yes\n", 5, "a whole number from 1",
    ),
    "a quota alone": ("roles:\n  camera: [a]\nquotas:\n  camera: 5\n", 4, "values such as"),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_one_line(tmp_path: Path, name: str) -> None:
    text, line, why = GARBAGE[name]
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        read_principals(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert why in message
    assert message.isprintable()


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_role_has_no_rights(name: str) -> None:
    assert name not in ROLES


def test_files_that_are_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.chmod(0o666)
    with pytest.raises(SettingsError, match="others can write it"):
        read_principals(path)
    with pytest.raises(SettingsError, match="No such file"):
        read_principals(tmp_path / "none.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_principals_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.touch(0o600)
    path.write_bytes(content)
    message = ""
    try:
        read_principals(path)
    except SettingsError as error:
        message = str(error)
    assert "\n" not in message
