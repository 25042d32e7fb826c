"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.settings import DEFAULT_BOOTSTRAP_SERVERS, KafkaSettings
from schemas.topics import DEFAULT_PREFIX

BootstrapServers = Annotated[
    str,
    typer.Option("--bootstrap-servers", envvar="INSPECTION_BOOTSTRAP_SERVERS", help="Kafka as host:port[,host:port]."),
]
Prefix = Annotated[str, typer.Option("--prefix", envvar="INSPECTION_PREFIX", help="First part of the topic names.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ImageStoreUri = Annotated[
    str | None,
    typer.Option(
        "--image-store",
        envvar="INSPECTION_IMAGE_STORE",
        help="Where images too large for the topic lie: a directory that all programs see, or s3://bucket/path. "
        "Default: a directory of the user's.",
    ),
]

MetricsAddress = Annotated[
    str,
    typer.Option(
        help="Address for --metrics-port, as 0.0.0.0 for each of this machine. Who reaches it reads the metrics: there "
        "is neither password nor encryption."
    ),
]
NoPartId = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="Text that stands where no part id was read, such as NOREAD; may be repeated. Such a part goes by its "
        "frame. Case does not matter.",
    ),
]

METRICS_ADDRESS_DEFAULT = "127.0.0.1"
BOOTSTRAP_DEFAULT = DEFAULT_BOOTSTRAP_SERVERS
PREFIX_DEFAULT = DEFAULT_PREFIX


def image_store_uri(given: str | None) -> str:
    """The option, or the default."""
    from schemas.image_store import default_image_store

    return given or default_image_store()


def kafka_settings(bootstrap_servers: str, prefix: str) -> KafkaSettings:
    """Settings from the options, the rest from the environment.

    Examples
    --------
    >>> kafka_settings("k:9092", "plant7").decisions
    'plant7.decisions'
    """
    return KafkaSettings(bootstrap_servers, prefix, KafkaSettings.from_env().schema_registry_url)
