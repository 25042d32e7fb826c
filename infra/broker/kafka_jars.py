"""Kafka's jars: from KAFKA_HOME, else by Maven coordinates, verified against ``kafka.lock`` and cached per user.

The lock names every jar with its sha256. ``python -m infra.broker.kafka_jars --relock VERSION`` rewrites it.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from infra.broker.errors import KafkaUnresolved
from infra.broker.locks import exclusive
from schemas.private_files import make_private_folder
from schemas.user_folders import user_folder

log = logging.getLogger(__name__)

#: Callback that gets (done, total) after each downloaded jar.
OnDownload = Callable[[int, int], None]

#: Kafka itself depends on the slf4j API only. This binding sends its log to log4j2, as in the distribution.
_LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl"

# The pattern requires a digit after the hyphen. A distribution may also contain kafka_2.13-4.4.0-test.jar and similar
# files, but no other version.
_DISTRIBUTION_JAR = "kafka_2.13-[0-9]*.jar"


@dataclass(frozen=True, slots=True)
class Jar:
    """Line of the lock: Maven coordinates and the sha256 of the file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinates(self) -> str:
        """Maven coordinates as ``group:artifact:version``."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def filename(self) -> str:
        """Name of the file in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars() -> list[Jar]:
    """Return the jars of the lock, Kafka's own jar first."""
    text = files("infra.broker").joinpath("kafka.lock").read_text(encoding="utf-8")
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def kafka_version() -> str:
    """Return the version of Kafka in the lock."""
    return locked_jars()[0].version


def version_to_run() -> str:
    """Return the version of Kafka that a new broker runs: the one in KAFKA_HOME if there is one, else the lock's."""
    home = os.environ.get("KAFKA_HOME")
    found = sorted((Path(home) / "libs").glob(_DISTRIBUTION_JAR)) if home else []
    return found[0].stem.removeprefix("kafka_2.13-") if found else kafka_version()


def cache_dir() -> Path:
    """Return the folder with this user's jars of the locked version."""
    return user_folder("cache") / f"kafka-{kafka_version()}"


def classpath(cache: Path | None = None, progress: OnDownload | None = None) -> str:
    """Return the class path of a broker; download missing jars first.

    Raises
    ------
    KafkaUnresolved
        If KAFKA_HOME is not a distribution, or the jars can neither be found nor downloaded.
    """
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        if not any(libs.glob(_DISTRIBUTION_JAR)):
            raise KafkaUnresolved(f"KAFKA_HOME={home} has no libs/kafka_2.13-*.jar")
        return f"{libs}/*"
    cache = cache or cache_dir()
    jars = locked_jars()
    try:
        make_private_folder(cache)
        # If two processes start for the first time at once, the second one waits here and then finds the jars.
        with exclusive(cache / ".lock"):
            missing = [jar for jar in jars if not is_intact(cache / jar.filename, jar)]
            if missing:
                _download(missing, cache, len(jars), progress)
    except OSError as error:
        raise KafkaUnresolved(f"the cache {cache} cannot be used: {error.strerror or error}") from error
    return os.pathsep.join(str(cache / jar.filename) for jar in jars)


def is_intact(path: Path, jar: Jar) -> bool:
    """Return True if the file exists and has the locked sha256."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _download(missing: list[Jar], cache: Path, total: int, progress: OnDownload | None) -> None:
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise KafkaUnresolved("the package jgo, which fetches its jars, is not installed") from error
    log.info("fetching %d jars of Kafka %s, once", len(missing), kafka_version())
    maven = MavenContext(repo_cache=cache / "maven")
    for done, jar in enumerate(missing, start=total - len(missing) + 1):
        try:
            component = maven.project(jar.group, jar.artifact).at_version(jar.version)
            fetched = Path(component.artifact().resolve())
            if not is_intact(fetched, jar):
                # jgo keeps a file that it fetched earlier: delete the file and let jgo fetch it once more.
                fetched.unlink(missing_ok=True)
                fetched = Path(component.artifact().resolve())
        except Exception as error:  # jgo passes on the errors of its HTTP client; all of them mean the same here
            raise KafkaUnresolved(f"{jar.coordinates} could not be fetched: {error}") from error
        if not is_intact(fetched, jar):
            fetched.unlink(missing_ok=True)
            raise KafkaUnresolved(f"{jar.coordinates} does not have the locked sha256")
        os.replace(fetched, cache / jar.filename)
        if progress is not None:
            progress(done, total)


def relock(version: str, cache: Path) -> str:
    """Resolve a version of Kafka from scratch and return the text of the lock."""
    from jgo.maven import MavenContext

    maven = MavenContext(repo_cache=cache)

    def resolve(coordinates: str) -> dict[tuple[str, str], str]:
        inputs, transitive = maven.resolver.resolve([maven.create_dependency(coordinates)])
        return {(d.groupId, d.artifactId): d.version for d in (*inputs, *transitive)}

    found = resolve(f"org.apache.kafka:kafka_2.13:{version}")
    log4j = found["org.apache.logging.log4j", "log4j-core"]
    found.update({k: v for k, v in resolve(f"{_LOG_BINDING}:{log4j}").items() if k not in found})
    lines = ["# Jars of the local broker, written by `python -m infra.broker.kafka_jars --relock VERSION`."]
    for (group, artifact), jar_version in found.items():
        path = Path(maven.project(group, artifact).at_version(jar_version).artifact().resolve())
        with path.open("rb") as file:
            lines.append(f"{group}:{artifact}:{jar_version} {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=relock.__doc__)
    parser.add_argument("--relock", metavar="VERSION", required=True)
    lock = relock(parser.parse_args().relock, user_folder("cache") / "relock")
    Path(str(files("infra.broker").joinpath("kafka.lock"))).write_text(lock, encoding="utf-8")
