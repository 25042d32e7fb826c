"""Check of a lock for known vulnerabilities, by pip-audit and its databases.

``python -m infra.supply_chain.audit PIP_AUDIT LOCK...`` ends with 0 if no package has a known vulnerability, with 1 if
one has, and with 3 if no database could be asked.

pip-audit says "No known vulnerabilities found" also if its database has no answer, such as an index that serves files
only. So each database is first asked for a package that has a vulnerability. Jars are not checked: a scanner that reads
CycloneDX takes them from the bill of materials (`infra.supply_chain.sbom`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InspectionError
from schemas.text import shown

#: Package with a known vulnerability (CVE-2020-14343), for which every database has an entry.
KNOWN_BAD = "pyyaml==5.3"
#: Databases in the order in which they are asked: that of the package index, and OSV.
DATABASES = ("pypi", "osv")
NO_DATABASE = 3
_TIMEOUT_S = 600


class NoDatabase(InspectionError):
    """Error: no database of vulnerabilities answers, so nothing was checked."""


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """Vulnerability of a package, and the first versions without it."""

    package: str
    name: str
    fixed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditResult:
    """Answer of a database: packages that it knows, packages that it does not know, and their vulnerabilities."""

    database: str
    checked: int
    skipped: tuple[str, ...]
    findings: tuple[Vulnerability, ...]


def audit(pip_audit: Path, lock: Path) -> AuditResult:
    """Return the known vulnerabilities of a lock, from the first database that answers.

    Raises
    ------
    NoDatabase
        If none answers, or none knows the vulnerability of `KNOWN_BAD`.
    """
    reasons = []
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.txt"
        probe.write_text(f"{KNOWN_BAD}\n", encoding="utf-8")
        for database in DATABASES:
            try:
                if not _ask(pip_audit, database, probe).findings:
                    reasons.append(f"{database}: it does not know the vulnerability of {KNOWN_BAD}")
                    continue
                return _ask(pip_audit, database, lock)
            except NoDatabase as error:
                reasons.append(str(error))
    raise NoDatabase(f"nothing was checked, because no database of vulnerabilities answers ({'; '.join(reasons)})")


def _ask(pip_audit: Path, database: str, lock: Path) -> AuditResult:
    command = [str(pip_audit), "--vulnerability-service", database, "--requirement", str(lock)]
    command += ["--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        answer = json.loads(done.stdout)
        packages = [each for each in answer["dependencies"] if "vulns" in each]
        skipped = tuple(
            f"{each['name']}: {each['skip_reason']}" for each in answer["dependencies"] if "vulns" not in each
        )
        findings = tuple(
            Vulnerability(f"{each['name']} {each['version']}", found["id"], tuple(found["fix_versions"]))
            for each in packages
            for found in each["vulns"]
        )
    except subprocess.TimeoutExpired:
        raise NoDatabase(f"{database}: no answer within {_TIMEOUT_S} s") from None
    except OSError as error:
        raise NoDatabase(f"{pip_audit}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines()
        raise NoDatabase(f"{database}: {shown(lines[-1][:200]) if lines else 'no answer'}") from None
    return AuditResult(database, len(packages), skipped, findings)


def report(lock: Path, result: AuditResult) -> str:
    """Return the lines about a lock.

    Examples
    --------
    >>> report(Path("runtime.lock"), AuditResult("pypi", 90, (), ()))
    'runtime.lock: 90 packages checked with pypi, 0 vulnerabilities'
    """
    lines = [
        f"{lock}: {result.checked} packages checked with {result.database}, {len(result.findings)} vulnerabilities"
    ]
    lines += [f"not checked: {shown(each)}" for each in result.skipped]
    for each in result.findings:
        fixed = f", fixed in {', '.join(each.fixed_in)}" if each.fixed_in else ", without a fix"
        lines.append(f"{shown(each.package)}: {shown(each.name)}{shown(fixed)}")
    return "\n".join(lines)


def main() -> int:
    """Check the locks, print a line for each vulnerability, and return the exit status."""
    parser = argparse.ArgumentParser(description="Check locks for known vulnerabilities.")
    parser.add_argument("pip_audit", type=Path)
    parser.add_argument("lock", type=Path, nargs="+")
    arguments = parser.parse_args()
    status = 0
    for lock in arguments.lock:
        try:
            result = audit(arguments.pip_audit, lock)
        except NoDatabase as error:
            sys.stderr.write(f"{lock}: {error}\n")
            return NO_DATABASE
        sys.stdout.write(report(lock, result) + "\n")
        status |= bool(result.findings)
    return status


if __name__ == "__main__":
    sys.exit(main())
