"""Bill of materials in CycloneDX 1.6 (ECMA-424): each wheel and jar of the locks, and each model that ships.

``python -m infra.supply_chain.sbom DIRECTORY`` writes two files:

- ``product.cdx.json``: what a line runs, and the container image holds. The jars are those of `inspection broker`,
  which fetches them; the image has none.
- ``development.cdx.json``: what builds, tests and measures it, with the scope ``excluded``. It takes a checkout.

The same locks give the same files: the time is that of ``SOURCE_DATE_EPOCH``, if it is set, and the serial number is
made of the content. All components are named as dependencies of the product; which of them needs which is not stated.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import yaml

from infra.broker import maven
from infra.supply_chain import wheels

#: Name of the distribution.
PRODUCT = "streaming-inspection"
#: Names of the files.
FILES = ("product.cdx.json", "development.cdx.json")
Scope = Literal["required", "optional", "excluded"]
_RUNTIME = "infra/locks/runtime.lock"
_LICENCE = "as its manifest states"


def product_bom(env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the bill of what a line runs: wheels of the runtime lock, jars of the local broker, models.

    Raises
    ------
    ValueError
        If a lock cannot be read.

    Examples
    --------
    >>> bom = product_bom({"SOURCE_DATE_EPOCH": "1700000000"})
    >>> bom["specVersion"], bom["metadata"]["timestamp"], bom["metadata"]["component"]["name"]
    ('1.6', '2023-11-14T22:13:20Z', 'streaming-inspection')
    """
    infra = files("infra")
    found = [
        *_of_lock(_RUNTIME, infra.joinpath("locks/runtime.lock").read_text(encoding="utf-8"), "required"),
        *_of_lock(
            "infra/broker/kafka.lock", infra.joinpath("broker/kafka.lock").read_text(encoding="utf-8"), "optional"
        ),
        *_models(files("models").joinpath("zoo")),
    ]
    return _bom(found, env)


def development_bom(checkout: Path, env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the bill of what builds, tests and measures the product: all other locks of a checkout.

    Raises
    ------
    OSError, ValueError
        If a lock cannot be read.
    """
    paths = [checkout / "requirements.lock", *sorted((checkout / "infra/locks").iterdir())]
    names = [path.relative_to(checkout).as_posix() for path in paths]
    found = [
        component
        for name, path in zip(names, paths, strict=True)
        if name != _RUNTIME
        for component in _of_lock(name, path.read_text(encoding="utf-8"), "excluded")
    ]
    return _bom(found, env)


def _of_lock(name: str, text: str, scope: Scope) -> Iterator[dict[str, Any]]:
    is_maven = "==" not in text
    rows = [_jar(each) for each in maven.read_lock(text)] if is_maven else map(_wheel, wheels.read_lock(text))
    for row in rows:
        row["scope"] = scope
        row.setdefault("properties", []).append(_property("lock", name))
        yield row


def _wheel(package: wheels.LockedPackage) -> dict[str, Any]:
    purl = f"pkg:pypi/{package.name.lower().replace('_', '-')}@{quote(package.version)}"
    # The hashes are those of the files for each system: they belong to the distribution, not to one component.
    hashes = [{"alg": "SHA-256", "content": each} for each in package.sha256]
    row = _component("library", package.name, package.version, purl)
    row["externalReferences"] = [{"type": "distribution", "url": purl, "hashes": hashes}]
    if package.marker:
        row["properties"] = [_property("marker", package.marker)]
    return row


def _jar(jar: maven.Jar) -> dict[str, Any]:
    kind = "" if jar.packaging == "jar" else f"?classifier={quote(jar.classifier)}&type={quote(jar.packaging)}"
    purl = f"pkg:maven/{quote(jar.group)}/{quote(jar.artifact)}@{quote(jar.version)}{kind}"
    row = _component("library", jar.artifact, jar.version, purl)
    return {**row, "group": jar.group, "hashes": [{"alg": "SHA-256", "content": jar.sha256}]}


def _models(zoo: Traversable) -> Iterator[dict[str, Any]]:
    for folder in sorted(zoo.iterdir(), key=lambda each: each.name):
        manifest = folder.joinpath("manifest.yaml")
        if manifest.is_file():
            yield _model(yaml.safe_load(manifest.read_text(encoding="utf-8")))


def _model(manifest: Mapping[str, Any]) -> dict[str, Any]:
    name, training = manifest["name"], manifest["training"]
    row = _component(
        "machine-learning-model", name, manifest["version"], f"pkg:generic/{quote(name)}@{manifest['version']}"
    )
    data = {"type": "dataset", "name": training["data"]}
    return {
        **row,
        "scope": "optional",
        "description": training["provenance"],
        "hashes": [{"alg": "SHA-256", "content": manifest["sha256"]}],
        "licenses": [{"license": {"name": _LICENCE, "text": {"content": training["licence"]}}}],
        "modelCard": {"modelParameters": {"task": manifest["task"], "datasets": [data]}},
    }


def _component(kind: str, name: str, number: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": number, "purl": purl}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"{PRODUCT}:{name}", "value": value}


def _merged(components: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the components, each once: a package of several locks has a property for each."""
    found: dict[str, dict[str, Any]] = {}
    for each in components:
        first = found.setdefault(each["bom-ref"], each)
        if first is not each:
            first["properties"] += [row for row in each["properties"] if row not in first["properties"]]
    return [found[ref] for ref in sorted(found)]


def _bom(components: Iterable[dict[str, Any]], env: Mapping[str, str]) -> dict[str, Any]:
    rows, number = _merged(components), version(PRODUCT)
    root = _component("application", PRODUCT, number, f"pkg:pypi/{PRODUCT}@{number}")
    root["licenses"] = [{"license": {"id": "Apache-2.0"}}]
    epoch = env.get("SOURCE_DATE_EPOCH")
    when = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch else datetime.datetime.now(datetime.UTC)
    content = json.dumps([root, rows], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": root},
        "components": rows,
        "dependencies": [{"ref": root["bom-ref"], "dependsOn": [each["bom-ref"] for each in rows]}],
    }


def main() -> None:
    """Write the files into a directory."""
    parser = argparse.ArgumentParser(description="Write the bills of materials.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--product-only", action="store_true", help="where there is no checkout")
    arguments = parser.parse_args()
    boms = [product_bom()]
    if not arguments.product_only:
        boms.append(development_bom(Path(__file__).parents[2]))
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name, bom in zip(FILES, boms, strict=False):
        path = arguments.directory / name
        path.write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path}: {len(bom['components'])} components\n")


if __name__ == "__main__":
    main()
