"""Reader of ``manifest.yaml``. Every error names file and line: ``cells/manifest.yaml:14: decision.threshold: ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from models.errors import ModelPackageError
from models.manifest import Manifest
from models.yaml_lines import LinedYaml, Location, YamlProblem, parse
from schemas.plain_files import read_plain

MANIFEST_NAME = "manifest.yaml"
_MAX_MANIFEST_BYTES = 256 * 1024


class ManifestFile:
    """Manifest that was read, with the lines of its text for errors that are found later."""

    def __init__(self, path: Path, manifest: Manifest, lined: LinedYaml) -> None:
        self.path, self.manifest, self._lined = path, manifest, lined

    def error(self, location: Location, reason: str) -> ModelPackageError:
        """Return an error that names the line of ``location``."""
        return _error(self.path, self._lined.line(location), location, reason)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a manifest.

        Raises
        ------
        ModelPackageError
            If it cannot be read or is not a valid manifest; the message names the file and the line.
        """
        try:
            raw = read_plain(path, _MAX_MANIFEST_BYTES)
        except OSError as error:
            why = error.strerror or str(error)
            raise ModelPackageError(f"{path}: {why}; a model package is a folder with {MANIFEST_NAME}") from error
        try:
            lined = parse(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise _error(path, raw[: error.start].count(b"\n") + 1, (), "not UTF-8 text") from error
        except YamlProblem as error:
            raise _error(path, error.line, (), str(error)) from error
        try:
            # By way of JSON: its strict mode accepts lists for tuples, but not `yes` for 1.0, and not 1.0 for "1.0".
            manifest = Manifest.model_validate_json(json.dumps(lined.data))
        except ValidationError as error:
            first, *others = sorted(error.errors(), key=lambda e: lined.line(e["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            more = f" (and {len(others)} more)" if others else ""
            raise _error(path, lined.line(first["loc"]), first["loc"], reason + more) from error
        return cls(path, manifest, lined)


def _error(path: Path, line: int, location: Location, reason: str) -> ModelPackageError:
    where = ".".join(str(part) for part in location)[:200]
    where = where if where.isprintable() else repr(where)
    return ModelPackageError(f"{path}:{line}: {where}: {reason}" if where else f"{path}:{line}: {reason}")
