"""Kafka's jars: from KAFKA_HOME, else by Maven coordinates, verified against ``kafka.lock`` and cached per user.

The lock names every jar with its sha256. ``python -m infra.broker.kafka_jars --relock VERSION`` rewrites it.
"""

from __future__ import annotations

import argparse
import logging
import os
from importlib.resources import files
from pathlib import Path

from infra.broker.errors import KafkaUnresolved
from infra.broker.locks import exclusive
from infra.broker.maven import Jar as Jar
from infra.broker.maven import MavenError, download, read_lock, resolve
from infra.broker.maven import OnDownload as OnDownload
from infra.broker.maven import is_intact as is_intact
from schemas.private_files import make_private_folder
from schemas.user_folders import user_folder

log = logging.getLogger(__name__)

#: Kafka itself depends on the slf4j API only. This binding sends its log to log4j2, as in the distribution.
_LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl"

# The pattern requires a digit after the hyphen. A distribution may also contain kafka_2.13-4.4.0-test.jar and similar
# files, but no other version.
_DISTRIBUTION_JAR = "kafka_2.13-[0-9]*.jar"


def locked_jars() -> list[Jar]:
    """Return the jars of the lock, Kafka's own jar first."""
    return read_lock(files("infra.broker").joinpath("kafka.lock").read_text(encoding="utf-8"))


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


def _download(missing: list[Jar], cache: Path, total: int, progress: OnDownload | None) -> None:
    log.info("fetching %d jars of Kafka %s, once", len(missing), kafka_version())
    try:
        download(missing, cache, total, progress)
    except MavenError as error:
        raise KafkaUnresolved(str(error)) from error


def relock(version: str, cache: Path) -> str:
    """Resolve a version of Kafka from scratch and return the text of the lock."""
    jars = resolve([f"org.apache.kafka:kafka_2.13:{version}"], cache)
    [log4j] = [jar.version for jar in jars if jar.artifact == "log4j-core"]
    known = {(jar.group, jar.artifact) for jar in jars}
    jars += [jar for jar in resolve([f"{_LOG_BINDING}:{log4j}"], cache) if (jar.group, jar.artifact) not in known]
    lines = ["# Jars of the local broker, written by `python -m infra.broker.kafka_jars --relock VERSION`."]
    return "\n".join([*lines, *(f"{jar.coordinates} {jar.sha256}" for jar in jars)]) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=relock.__doc__)
    parser.add_argument("--relock", metavar="VERSION", required=True)
    lock = relock(parser.parse_args().relock, user_folder("cache") / "relock")
    Path(str(files("infra.broker").joinpath("kafka.lock"))).write_text(lock, encoding="utf-8")
