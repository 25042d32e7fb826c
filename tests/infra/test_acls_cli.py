"""`inspection acls show`: commands for the people who may run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.errors import SettingsError

FILE = """\
roles:
  camera: ["cert-CN=press 1"]
  watch: [watch-1]
  operator: [ann]
quotas:
  camera: {producer_byte_rate: 20000000, request_percentage: 50}
"""


@pytest.fixture
def principals(tmp_path: Path) -> Path:
    path = tmp_path / "principals.yaml"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


def show(principals: Path, *options: str) -> str:
    options = ("--principals", str(principals), "--bootstrap-servers", "k:9093", "--prefix", "plant7", *options)
    result = CliRunner().invoke(app, ["acls", "show", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_commands(principals: Path) -> None:
    lines = show(principals).splitlines()
    acls = "kafka-acls.sh --bootstrap-server k:9093 --command-config ADMIN.properties --add --allow-principal"
    assert f"{acls} 'User:cert-CN=press 1' --operation Write --operation DescribeConfigs --topic plant7.frames" in lines
    assert f"{acls} User:watch-1 --operation Read --operation Write --topic plant7.drift-state" in lines
    assert f"{acls} User:watch-1 --operation Read --group inspection-watch" in lines
    assert f"{acls} User:ann --operation Write --transactional-id plant7-dead-letters-retry" in lines
    assert (
        "kafka-configs.sh --bootstrap-server k:9093 --command-config ADMIN.properties --alter --add-config "
        "producer_byte_rate=20000000,request_percentage=50 --entity-type users --entity-name 'cert-CN=press 1'"
    ) in lines


def test_json(principals: Path) -> None:
    found = json.loads(show(principals, "--json"))
    assert found["prefix"] == "plant7"
    assert {
        "user": "ann", "role": "operator", "kind": "transactional-id", "name": "plant7-dead-letters-retry",
        "is_prefix": False, "operation": "WRITE",
    } in found["acls"]  # fmt: skip
    assert found["commands"]
    assert len(found["quota_commands"]) == 1


def test_beginnings_of_names(principals: Path) -> None:
    principals.write_text("roles: {gate: [g], replayer: [r]}\n")
    lines = show(principals)
    assert "--operation Describe --group unused- --resource-pattern-type prefixed" in lines
    assert "--topic plant7.replay. --resource-pattern-type prefixed" in lines


def test_garbage(principals: Path) -> None:
    principals.write_text("roles:\n  boss: [ann]\n")
    with pytest.raises(SettingsError, match=r"principals\.yaml, line 2: boss is no role"):
        show(principals)
