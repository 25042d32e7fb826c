"""Files of a Maven repository: pinned by coordinates and sha256, fetched without ``mvn``, kept in a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.broker.locks import exclusive
from schemas.errors import InspectionError
from schemas.private_files import make_private_folder

#: Callback that gets (done, total) after each downloaded file.
OnDownload = Callable[[int, int], None]


class MavenError(InspectionError):
    """Error: a file of a lock cannot be fetched, or is another one; the message names it."""


@dataclass(frozen=True, slots=True)
class Jar:
    """Line of a lock: Maven coordinates and the sha256 of the file.

    Parameters
    ----------
    packaging, classifier
        Kind of the file; of a jar they are ``jar`` and empty.

    Examples
    --------
    >>> Jar("org.example", "app", "1.0", "00", "tar.gz", "all").filename
    'app-1.0-all.tar.gz'
    """

    group: str
    artifact: str
    version: str
    sha256: str
    packaging: str = "jar"
    classifier: str = ""

    @property
    def coordinates(self) -> str:
        """Coordinates as in a lock: ``group:artifact:version[:packaging:classifier]``."""
        kind = "" if self.packaging == "jar" else f":{self.packaging}:{self.classifier}"
        return f"{self.group}:{self.artifact}:{self.version}{kind}"

    @property
    def filename(self) -> str:
        """Name of the file in the folder."""
        return f"{self.artifact}-{self.version}{self.classifier and f'-{self.classifier}'}.{self.packaging}"


def read_lock(text: str) -> list[Jar]:
    """Return the files of a lock: one ``group:artifact:version[:packaging:classifier] sha256`` a line.

    Examples
    --------
    >>> read_lock("# comment\\norg.example:app:1.0 00\\n")[0].coordinates
    'org.example:app:1.0'
    """
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version, *kind = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256, *kind))
    return jars


def is_intact(path: Path, jar: Jar) -> bool:
    """Return True if the file exists and has the locked sha256."""
    try:
        return _sha256(path) == jar.sha256
    except OSError:
        return False


def ensure(jars: Sequence[Jar], folder: Path, progress: OnDownload | None = None) -> list[Path]:
    """Return the paths of the files in a folder; fetch those that are missing there.

    Raises
    ------
    MavenError
        If a file cannot be fetched.
    OSError
        If the folder cannot be used.
    """
    make_private_folder(folder)
    # If two processes start for the first time at once, the second one waits here and then finds the files.
    with exclusive(folder / ".lock"):
        missing = [jar for jar in jars if not is_intact(folder / jar.filename, jar)]
        if missing:
            download(missing, folder, len(jars), progress)
    return [folder / jar.filename for jar in jars]


def download(missing: Sequence[Jar], folder: Path, total: int, progress: OnDownload | None = None) -> None:
    """Fetch files into a folder.

    Raises
    ------
    MavenError
        If a file cannot be fetched, or does not have the locked sha256.
    """
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise MavenError("the package jgo, which fetches its jars, is not installed") from error
    maven = MavenContext(repo_cache=folder / "maven")
    for done, jar in enumerate(missing, start=total - len(missing) + 1):
        try:
            component = maven.project(jar.group, jar.artifact).at_version(jar.version)
            artifact = component.artifact(jar.classifier, jar.packaging)
            fetched = Path(artifact.resolve())
            if not is_intact(fetched, jar):
                # jgo keeps a file that it fetched earlier: delete the file and let jgo fetch it once more.
                fetched.unlink(missing_ok=True)
                fetched = Path(artifact.resolve())
        except Exception as error:  # jgo passes on the errors of its HTTP client; all of them mean the same here
            raise MavenError(f"{jar.coordinates} could not be fetched: {error}") from error
        if not is_intact(fetched, jar):
            fetched.unlink(missing_ok=True)
            raise MavenError(f"{jar.coordinates} does not have the locked sha256")
        os.replace(fetched, folder / jar.filename)
        if progress is not None:
            progress(done, total)


def resolve(roots: Iterable[str], folder: Path) -> list[Jar]:
    """Return what programs need at run time, without versions of a lock: the roots and all that they depend on.

    Parameters
    ----------
    roots
        Coordinates as ``group:artifact:version``.
    folder
        Folder for the downloads.
    """
    from jgo.maven import MavenContext

    maven = MavenContext(repo_cache=folder)
    inputs, transitive = maven.resolver.resolve([maven.create_dependency(each) for each in roots])
    jars = []
    for found in (*inputs, *transitive):
        path = Path(maven.project(found.groupId, found.artifactId).at_version(found.version).artifact().resolve())
        jars.append(Jar(found.groupId, found.artifactId, found.version, _sha256(path)))
    return jars


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
