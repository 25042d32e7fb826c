"""Configuration of MirrorMaker 2: decisions, labels, drift and dead letters of a line go to a centre, images stay.

The file is that of ``connect-mirror-maker.sh``. It holds no secret: MirrorMaker reads them from the files that hold
them when it starts, by Kafka's configuration providers (KIP-297, KIP-421).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.connection.load import load_client_config
from schemas.connection.properties import Property, parse_properties
from schemas.errors import SettingsError
from schemas.text import shown
from schemas.topics import DEAD_LETTERS, DECISIONS, DRIFT, LABELS, check_prefix

#: Topics that go to the centre.
MIRRORED = (DECISIONS, LABELS, DRIFT, DEAD_LETTERS)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
_LOGIN = "org.apache.kafka.common.security"
_MODULES = {"PLAIN": "plain.PlainLoginModule", "SCRAM-SHA-256": "scram.ScramLoginModule"}
_MODULES["SCRAM-SHA-512"] = _MODULES["SCRAM-SHA-256"]
#: Remedy that names a file which this configuration does not read.
_OTHER_FILE = re.compile(r"; [^;]*\bINSPECTION_KAFKA_(?:KEY_PASSWORD|CLIENT_SECRET)_FILE\b[^;]*")
_PROVIDERS = "org.apache.kafka.common.config.provider"
#: Room for the largest dead letter and the headers that Kafka adds.
_MAX_REQUEST_BYTES = max(topic.max_message_bytes for topic in MIRRORED) + 64 * 1024


@dataclass(frozen=True, slots=True)
class MirrorSite:
    """Cluster at one end of a mirror.

    Parameters
    ----------
    name
        Its name, letters, digits, ``_`` and ``-``. That of the line is the first part of the topics at the centre.
    client_file
        Properties file with which a client connects, see `schemas.connection.load`.
    password_file
        File with the password alone, if the properties file has none.
    """

    name: str
    client_file: Path
    password_file: Path | None = None


def mirrored_prefix(line: MirrorSite, prefix: str, *, keep_names: bool) -> str:
    """Return the prefix under which the centre has the topics of a line.

    Examples
    --------
    >>> mirrored_prefix(MirrorSite("hall1", Path("c")), "inspection", keep_names=False)
    'hall1.inspection'
    """
    return prefix if keep_names else f"{line.name}.{prefix}"


def mirror_config(
    line: MirrorSite, centre: MirrorSite, prefix: str, *, copies: int = 3, keep_names: bool = False
) -> str:
    """Return the text of the configuration.

    Parameters
    ----------
    prefix
        First part of the topic names of the line.
    copies
        Copies of each partition at the centre.
    keep_names
        True: topics have the same names at the centre. For one line only.

    Raises
    ------
    SettingsError
        If a name or a client file is refused, or has a setting without a counterpart in Java's clients.
    """
    check_prefix(prefix)
    for site in (line, centre):
        if not _NAME.fullmatch(site.name):
            raise SettingsError(f"name of a site {shown(site.name)}: 1 to 60 letters, digits, '_' or '-'")
    if line.name == centre.name:
        raise SettingsError(f"both sites are called {line.name}: give each a name of its own")
    way = f"{line.name}->{centre.name}"
    # A point in a pattern stands for any character; a backslash would be lost in a properties file.
    topics = ",".join(topic.name(prefix).replace(".", "[.]") for topic in MIRRORED)
    lines = [
        f"# MirrorMaker 2: decisions, labels, drift and dead letters of `{prefix}` from {line.name} to {centre.name}.",
        f"# At {centre.name}: inspection quality --prefix {mirrored_prefix(line, prefix, keep_names=keep_names)}",
        f"clusters = {line.name}, {centre.name}",
        f"{way}.enabled = true",
        f"{way}.topics = {topics}",
        f"{centre.name}->{line.name}.enabled = false",
        f"replication.factor = {copies}",
        *(
            f"{name}.replication.factor = {copies}"
            for name in (
                "offset-syncs.topic",
                "checkpoints.topic",
                "heartbeats.topic",
                "offset.storage",
                "config.storage",
                "status.storage",
            )
        ),
        "# Nothing is written at the line, and no right is needed there but to read.",
        "offset-syncs.topic.location = target",
        "emit.heartbeats.enabled = false",
        "emit.checkpoints.enabled = false",
        "sync.group.offsets.enabled = false",
        "sync.topic.acls.enabled = false",
        "refresh.topics.interval.seconds = 60",
        "dedicated.mode.enable.internal.rest = false",
        "# The largest dead letter has to fit.",
        f"{centre.name}.producer.max.request.size = {_MAX_REQUEST_BYTES}",
        f"{centre.name}.producer.acks = all",
        f"{line.name}.consumer.max.partition.fetch.bytes = {_MAX_REQUEST_BYTES}",
    ]
    if keep_names:
        lines.append("replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy")
    lines += [
        "config.providers = file, directory",
        f"config.providers.file.class = {_PROVIDERS}.FileConfigProvider",
        f"config.providers.directory.class = {_PROVIDERS}.DirectoryConfigProvider",
    ]
    for site, option in ((line, "--line"), (centre, "--centre")):
        lines += [f"{site.name}.{key} = {value}" for key, value in _client(site, option)]
    return "\n".join(lines) + "\n"


def _loaded(site: MirrorSite, option: str) -> dict[str, str]:
    """Return the settings of a site. Errors name the options of the command, not variables that it does not read."""
    env = {"INSPECTION_KAFKA_CONFIG": str(site.client_file)}
    if site.password_file is not None:
        env["INSPECTION_KAFKA_PASSWORD_FILE"] = str(site.password_file)
    try:
        return load_client_config(env)
    except SettingsError as error:
        text = _OTHER_FILE.sub("", str(error)).replace("INSPECTION_KAFKA_PASSWORD_FILE", f"{option}-password-file")
        raise SettingsError(text.replace("INSPECTION_KAFKA_CONFIG", option)) from error


def _client(site: MirrorSite, option: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a site in the names of Java's clients; secrets are references to their files."""
    settings = _loaded(site, option)
    path = site.client_file.absolute()
    written = {each.key: each for each in parse_properties(path.read_text(encoding="utf-8-sig"), path)}
    if "bootstrap.servers" not in settings:
        raise SettingsError(f"{shown(path)}: it has no bootstrap.servers")
    for key in ("ssl.cipher.suites", "ssl.crl.location", "sasl.oauthbearer.method"):
        if key in settings:
            entry = written.get(key) or Property(path, 0, key, "")
            raise entry.refusal("it has no counterpart here; write the file of MirrorMaker by hand for such a cluster")
    for key in ("bootstrap.servers", "security.protocol"):
        if key in settings:
            yield key, settings[key]
    if "sasl.mechanisms" in settings:
        yield "sasl.mechanism", settings["sasl.mechanisms"]
        yield "sasl.jaas.config", _login(site, settings, written)
    yield from _authorities(path, settings)
    yield from _own_key(path, settings, written)


def _login(site: MirrorSite, settings: Mapping[str, str], written: Mapping[str, Property]) -> str:
    path = site.client_file.absolute()
    if "sasl.jaas.config" in written:
        return _in_file(path, "sasl.jaas.config")
    if site.password_file is None:
        password = _in_file(path, "sasl.password")
    else:
        file = site.password_file.absolute()
        if file.read_bytes().endswith((b"\n", b"\r")):
            raise SettingsError(
                f"{shown(file)}: MirrorMaker would take its line break for a part of the password; write the file "
                "without one (`printf %s`), or put sasl.password into the properties file"
            )
        password = _content_of(file)
    if set('"\\') & set(settings["sasl.password"]):
        raise SettingsError(
            f"{shown(path)}: the password has a quote or a backslash, which Java reads otherwise; give it another one"
        )
    user = settings["sasl.username"]
    if '"' in user or "$" in user:
        raise SettingsError(f"{shown(path)}: the user has a quote or a dollar sign; give MirrorMaker another user")
    return f'{_LOGIN}.{_MODULES[settings["sasl.mechanisms"]]} required username="{user}" password="{password}";'


def _authorities(path: Path, settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    found = settings.get("ssl.ca.location")
    if found is not None and found != "probe":
        if Path(found).is_dir():
            raise SettingsError(f"{shown(path)}: ssl.ca.location is a folder; Java reads one PEM file")
        yield from (("ssl.truststore.type", "PEM"), ("ssl.truststore.location", found))
    elif "ssl.ca.pem" in settings:
        # In a properties file a backslash at the end of a line goes on with the next one.
        text = settings["ssl.ca.pem"].strip().replace("\n", "\\n\\\n")
        yield from (("ssl.truststore.type", "PEM"), ("ssl.truststore.certificates", text))


def _own_key(path: Path, settings: Mapping[str, str], written: Mapping[str, Property]) -> Iterator[tuple[str, str]]:
    pairs: Sequence[tuple[str, str]] = ()
    if "ssl.keystore.location" in settings:
        pairs = (("ssl.keystore.type", "PKCS12"), ("ssl.keystore.location", settings["ssl.keystore.location"]))
        if "ssl.keystore.password" in settings:
            pairs = (*pairs, ("ssl.keystore.password", _in_file(path, "ssl.keystore.password")))
    elif "ssl.certificate.location" in settings and "ssl.key.location" in settings:
        pairs = (
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.certificate.chain", _content_of(Path(settings["ssl.certificate.location"]))),
            ("ssl.keystore.key", _content_of(Path(settings["ssl.key.location"]))),
        )
        if "ssl.key.password" in settings:
            pairs = (*pairs, ("ssl.key.password", _in_file(path, "ssl.key.password")))
    elif "ssl.key.pem" in settings:
        name = "ssl.key.pem" if "ssl.key.pem" in written else "ssl.keystore.key"
        raise written[name].refusal("MirrorMaker needs the key in a file of its own: use ssl.key.location")
    yield from pairs


def _in_file(path: Path, key: str) -> str:
    """Return the reference to a line of a properties file."""
    return f"${{file:{_referable(path)}:{key}}}"


def _content_of(path: Path) -> str:
    """Return the reference to the content of a file."""
    return f"${{directory:{_referable(path.parent)}:{path.name}}}"


def _referable(path: Path) -> Path:
    if re.search(r"[:{}\\]", str(path)):
        raise SettingsError(f"{shown(path)}: a reference cannot hold ':', braces or backslashes; move the file")
    return path
