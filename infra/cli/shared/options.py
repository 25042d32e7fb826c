"""Options that several commands share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.choices import SignatureChoice, choice
from schemas.errors import SettingsError
from schemas.plain_files import read_plain
from schemas.settings import DEFAULT_BOOTSTRAP_SERVERS, KafkaSettings
from schemas.text import file_text
from schemas.topics import DEFAULT_PREFIX

if TYPE_CHECKING:
    from replay.past.source import Source

#: Heading of the options that name the source of the past, in the help of each command.
WHERE = "Where they lie"

BootstrapServers = Annotated[
    str,
    typer.Option(
        "--bootstrap-servers",
        envvar="INSPECTION_BOOTSTRAP_SERVERS",
        help="Kafka as host:port[,host:port].",
        show_default=DEFAULT_BOOTSTRAP_SERVERS,
    ),
]
Prefix = Annotated[str, typer.Option("--prefix", envvar="INSPECTION_PREFIX", help="First part of the topic names.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ImageStoreUri = Annotated[
    str | None,
    typer.Option(
        "--image-store",
        envvar="INSPECTION_IMAGE_STORE",
        help="Store of images too large for the topic: a directory that all programs see, or s3://bucket/path. "
        "Default: a directory of the user's.",
    ),
]
ArchiveUri = Annotated[
    str | None,
    typer.Option(
        "--archive",
        envvar="INSPECTION_ARCHIVE",
        help="Archive of `inspection archive`: a directory or s3://bucket/path. Archive and topics are read as one.",
        rich_help_panel=WHERE,
    ),
]
ArchiveOnly = Annotated[
    bool, typer.Option("--archive-only", help="Ask no broker: the archive alone.", rich_help_panel=WHERE)
]

HttpHost = Annotated[
    str,
    typer.Option(
        help="Address for --http-port; 0.0.0.0 is every address of this machine. Anyone who reaches it reads the "
        "metrics: there is neither password nor encryption."
    ),
]
HttpPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Serve Prometheus metrics at this port; 0: a free one. Default: do not."),
]
#: Former names of these two options.
MetricsAddress = Annotated[str | None, typer.Option(hidden=True)]
MetricsPort = Annotated[int | None, typer.Option(min=0, max=65535, hidden=True)]
NoPartId = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="Text that a device sends if it read no part id, such as NOREAD; may be repeated. Such a part is known by "
        "its frame. Case does not matter.",
    ),
]

TrustFolder = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        envvar="INSPECTION_TRUST",
        help="Folder of public keys (`inspection keys`): only what they have signed is believed.",
        show_default=False,
    ),
]
TrustTopic = Annotated[
    bool,
    typer.Option(
        "--trust-topic",
        envvar="INSPECTION_TRUST_TOPIC",
        help="Believe also keys that the topic PREFIX.signing-keys spreads (`inspection keys publish`), if a key with "
        "the role authority in --trust has signed them.",
    ),
]
Signatures = Annotated[
    SignatureChoice | None,
    choice(
        "What to do without a valid signature: require (it is not used), warn (it is), off. Default: require with "
        "--trust, else off.",
        "--signatures",
    ),
]

SpoolDir = Annotated[
    Path | None,
    typer.Option(
        "--spool-dir",
        envvar="INSPECTION_SPOOL_DIR",
        help="Folder of the spools. Default: the user's state directory.",
    ),
]
_MOST_SECRET_BYTES = 1024 * 1024
HTTP_HOST_DEFAULT = "127.0.0.1"
#: The option is not given. The default address is one of the last places that are asked, see `kafka_settings`.
BOOTSTRAP_DEFAULT = ""
PREFIX_DEFAULT = DEFAULT_PREFIX


def as_text(value: Any) -> Any:
    r"""Return the value of an option that goes into records, which are UTF-8.

    Raises
    ------
    SettingsError
        If a value has bytes that are not UTF-8.

    Examples
    --------
    >>> as_text("Prüfer"), as_text(None)
    ('Prüfer', None)
    >>> as_text("gr\udcfcn")
    Traceback (most recent call last):
    ...
    schemas.errors.SettingsError: 'gr\xfcn' has bytes that are no UTF-8; records hold UTF-8 text only
    """
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, str) and file_text(text) != text:
            raise SettingsError(f"'{file_text(text)}' has bytes that are no UTF-8; records hold UTF-8 text only")
    return value


def secret_lines(file: Path, option: str) -> list[str]:
    """Return the lines of a file with secrets, without empty lines and comments (``#``).

    Raises
    ------
    SettingsError
        If the file cannot be read; the message does not show its content.
    """
    try:
        text = read_plain(file, _MOST_SECRET_BYTES, regular=False).decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{option} {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{option} {file}: is not UTF-8 text") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def image_store_uri(given: str | None) -> str:
    """Return the URI of the option, or the default store."""
    from transport.image_store import default_image_store

    return given or default_image_store()


def http_endpoint(host: str, port: int | None, old_host: str | None, old_port: int | None) -> tuple[str, int | None]:
    """Return address and port of the metrics; the former options count where the new ones are not given."""
    is_default = host == HTTP_HOST_DEFAULT
    return (old_host if is_default and old_host is not None else host), (old_port if port is None else port)


def kafka_settings(bootstrap_servers: str, prefix: str) -> KafkaSettings:
    """Return settings from the options, and the remaining ones from the environment.

    Parameters
    ----------
    bootstrap_servers
        Empty if the option is not given: then the file of the connection counts, then the default.

    Raises
    ------
    SettingsError
        If a variable, or a file that it names, is refused.

    Examples
    --------
    >>> kafka_settings("k:9092", "plant7").decisions
    'plant7.decisions'
    """
    return replace(KafkaSettings.from_env(bootstrap_servers=bootstrap_servers), prefix=prefix)


def user_name(option: str) -> str:
    """Return the name of the user who runs the command, for a record.

    Raises
    ------
    SettingsError
        If the system has no name for this user, as in a container without an entry in the password file. The message
        names the option to use.
    """
    import getpass

    try:
        return file_text(getpass.getuser())
    except (OSError, KeyError, ImportError):
        raise SettingsError(f"{option}: this machine does not say who you are; name yourself") from None


def past_source(
    kafka: KafkaSettings, archive: str | None, archive_only: bool = False, *, max_bytes_s: float | None = None
) -> Source:
    """Return the source that the options name: topics, archive, or both.

    Raises
    ------
    SettingsError
        If the archive alone is asked for, and none is named.
    ArchiveError
        If there is no archive at the URI.
    """
    from replay.past.source import Source

    if archive is None:
        if archive_only:
            raise SettingsError("--archive-only needs --archive")
        return Source(kafka, max_bytes_s=max_bytes_s)
    from replay.archive import Archive

    return Source(kafka, Archive.open(archive), topics=not archive_only, max_bytes_s=max_bytes_s)


def spool_directory(given: Path | None) -> Path:
    """Return the directory of the option, or the default."""
    from producers.spool.options import default_spool_dir

    return given or default_spool_dir()


def existing_spool_directory(given: Path | None) -> Path:
    """Return the directory of the option, or the default, for a command that reads spools.

    Raises
    ------
    SettingsError
        If the user names a directory that does not exist: it is misspelt, or its volume is not mounted, and what waits
        there would be overlooked.
    """
    if given is not None and not given.is_dir():
        raise SettingsError(f"--spool-dir {given}: there is no such directory")
    return spool_directory(given)
