"""Supply chain: the bill of materials names all that is locked, the check for vulnerabilities does not lie, and the
same commit gives the same wheel.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.supply_chain import audit, sbom
from infra.supply_chain.audit import KNOWN_BAD, NO_DATABASE
from infra.supply_chain.sbom import FILES, development_bom, product_bom

WHEEL = re.compile(r"^([a-z0-9-]+)==([^\s;]+)", re.MULTILINE)
JAR = re.compile(r"^([\w.-]+):([\w.-]+):([\w.-]+)(?::([\w.]+):(\w+))? ([0-9a-f]{64})$", re.MULTILINE)
PRODUCT_LOCKS = ("infra/locks/runtime.lock", "infra/broker/kafka.lock")


def run(monkeypatch: pytest.MonkeyPatch, main: Callable[[], int | None], *arguments: object) -> int | None:
    """Run a program in this process, and return its status."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
    return main()


@pytest.fixture(scope="module")
def boms(repository: Path) -> dict[str, dict[str, Any]]:
    """Both bills, by the name of their file."""
    return dict(zip(FILES, (product_bom({}), development_bom(repository, {})), strict=True))


def locked(repository: Path, path: str) -> set[str]:
    """Return the package URLs of a lock."""
    text = (repository / path).read_text()
    jars = {
        f"pkg:maven/{group}/{name}@{version}{f'?classifier={classifier}&type={kind}' if kind else ''}"
        for group, name, version, kind, classifier, _ in JAR.findall(text)
    }
    found = jars | {f"pkg:pypi/{name}@{version}" for name, version in WHEEL.findall(text)}
    assert found, path
    return found


@pytest.mark.parametrize("name", [FILES[0], pytest.param(FILES[1], marks=pytest.mark.long)])
def test_a_bill_is_valid(boms: dict[str, dict[str, Any]], name: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(boms[name])) is None
    broken = {**boms[name], "components": [{"type": "wheel", "name": "numpy"}]}
    assert validator.validate_str(json.dumps(broken)) is not None


def test_the_product_has_each_wheel_jar_and_model_and_nothing_else(
    boms: dict[str, dict[str, Any]], repository: Path
) -> None:
    found = {each["purl"]: each for each in boms["product.cdx.json"]["components"]}
    manifests = [yaml.safe_load(path.read_text()) for path in (repository / "models/zoo").glob("*/manifest.yaml")]
    models = {f"pkg:generic/{each['name']}@{each['version']}": each for each in manifests}
    assert len(models) == len(manifests) > 0
    assert set(found) == set().union(models, *(locked(repository, path) for path in PRODUCT_LOCKS))
    for purl, manifest in models.items():
        assert found[purl]["hashes"] == [{"alg": "SHA-256", "content": manifest["sha256"]}]
        assert manifest["training"]["licence"] == found[purl]["licenses"][0]["license"]["text"]["content"]
    for group, name, version, *_, sha256 in JAR.findall((repository / "infra/broker/kafka.lock").read_text()):
        assert found[f"pkg:maven/{group}/{name}@{version}"]["hashes"][0]["content"] == sha256
    assert not {"pkg:pypi/pytest", "pkg:pypi/elpv-dataset"} & {purl.partition("@")[0] for purl in found}


def test_a_wheel_has_the_hashes_of_its_lock(boms: dict[str, dict[str, Any]], repository: Path) -> None:
    text = (repository / "infra/locks/runtime.lock").read_text().split("\nnumpy==")[1]
    version, hashes = text.split()[0], re.findall(r"sha256:([0-9a-f]{64})", re.split(r"\n[a-z]", text)[0])
    [found] = [each for each in boms["product.cdx.json"]["components"] if each["purl"] == f"pkg:pypi/numpy@{version}"]
    [distribution] = found["externalReferences"]
    assert [each["content"] for each in distribution["hashes"]] == hashes


def test_the_development_bill_has_all_other_locks(boms: dict[str, dict[str, Any]], repository: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.lock"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split()
    others = set(listed) - set(PRODUCT_LOCKS)
    assert "requirements.lock" in others
    found = boms["development.cdx.json"]["components"]
    assert {each["purl"] for each in found} == set().union(*(locked(repository, path) for path in others))
    assert {each["scope"] for each in found} == {"excluded"}


def test_the_same_locks_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        run(monkeypatch, sbom.main, tmp_path / name, "--product-only")
    [first], [second] = ((tmp_path / name).iterdir() for name in "ab")
    assert first.name == FILES[0]
    assert first.read_bytes() == second.read_bytes()


def answer(*vulnerabilities: str) -> str:
    """Return the JSON of pip-audit about one package."""
    vulns = [{"id": each, "fix_versions": ["5.4"], "aliases": [], "description": ""} for each in vulnerabilities]
    return json.dumps({"dependencies": [{"name": "pyyaml", "version": "5.3", "vulns": vulns}], "fixes": []})


@pytest.mark.parametrize(
    ("probe", "lock", "status", "text"),
    [
        (answer("CVE-2020-14343"), answer(), 0, "1 packages checked with pypi, 0 vulnerabilities"),
        (answer("CVE-2020-14343"), answer("CVE-1"), 1, "pyyaml 5.3: CVE-1, fixed in 5.4"),
        # An index without vulnerabilities: pip-audit ends with 0.
        (answer(), answer(), NO_DATABASE, "does not know the vulnerability"),
        ('{"dependencies": [{"name": "pyyaml", "skip_reason": "not found"}]}', answer(), NO_DATABASE, "does not know"),
        ("", "", NO_DATABASE, "nothing was checked"),
        ("{}", "[]", NO_DATABASE, "nothing was checked"),
        (answer("CVE-2020-14343"), "<html>", NO_DATABASE, "nothing was checked"),
    ],
)
def test_the_check_says_when_nothing_was_checked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    probe: str,
    lock: str,
    status: int,
    text: str,
) -> None:
    """A program with the answers of pip-audit, since its databases cannot be reached from everywhere."""
    program, locked_file = tmp_path / "pip-audit", tmp_path / "some.lock"
    locked_file.touch()
    (tmp_path / "probe.json").write_text(probe)
    (tmp_path / "lock.json").write_text(lock)
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *{locked_file}*) cat {tmp_path}/lock.json;; '
        f'*) cat {tmp_path}/probe.json; grep -qx {KNOWN_BAD} "$4" || exit 9;; esac\necho no network >&2\n'
    )
    program.chmod(0o700)
    assert run(monkeypatch, audit.main, program, locked_file) == status
    assert text in "".join(capsys.readouterr())


def test_a_check_without_its_program_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, audit.main, tmp_path / "none", tmp_path / "some.lock") == NO_DATABASE
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.long
def test_the_same_commit_gives_the_same_wheel(tmp_path: Path, repository: Path) -> None:
    wheels = []
    for number, umask in enumerate(("022", "077")):
        checkout = tmp_path / f"checkout-{number}"
        checkout.mkdir()
        script = f"umask {umask}; git ls-files -z | xargs -0 cp --parents --no-preserve=all -t {checkout}"
        subprocess.run(["sh", "-c", script], cwd=repository, check=True)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / f"dist-{number}")]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
        [wheel] = (tmp_path / f"dist-{number}").iterdir()
        wheels.append(wheel.read_bytes())
    assert wheels[0] == wheels[1]
