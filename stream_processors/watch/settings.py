"""Settings of `inspection watch`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from monitoring.drift import DriftOptions
from schemas.addresses import masked_repr
from schemas.errors import SettingsError
from schemas.groups import WATCH
from schemas.known_secrets import keep_password, keep_secret
from schemas.replay_headers import require_replay_prefix
from schemas.settings import KafkaSettings
from transport.belief import SignaturePolicy

DEFAULT_WATCH_GROUP = WATCH


@dataclass(frozen=True, slots=True, repr=False)
class WatchSettings:
    """Settings with which the cameras of a line are watched.

    Parameters
    ----------
    kafka
        Address and topic prefix.
    models
        Model packages whose training references are used, each for its own decisions; empty: the package that ships.
    options
        Budget of false alarms, and other options of the detectors.
    group
        Consumer group; its processes share the cameras.
    webhook
        URL to which episodes are posted; None: log and metrics only.
    snapshot_s
        Seconds between two snapshots of the state; after a crash no more than the messages of this time are read again.
    max_age_h
        Decisions older than this, in hours, are not watched for data drift.
    max_cameras
        Most cameras that a process keeps, and a tenth more that were seen only a few times; the one unseen for longest
        is evicted.
        Memory: about 0.8 MiB for each camera with one product.
    trust, trust_topic, signatures
        Folder of public keys, whether the topic of keys of the line is followed, and what to do with labels whose
        signature is missing or wrong, see `transport.belief.make_belief`.
    http_host, http_port
        Address of /health and /metrics; port None: 8089, or a free port if 8089 is in use.
    """

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    models: tuple[Path, ...] = ()
    options: DriftOptions = field(default_factory=DriftOptions)
    group: str = DEFAULT_WATCH_GROUP
    webhook: str | None = None
    snapshot_s: float = 15.0
    max_age_h: float = 24.0
    max_cameras: int = 1000
    trust: Path | None = None
    trust_topic: bool = False
    signatures: SignaturePolicy | None = None
    http_host: str = "127.0.0.1"
    http_port: int | None = None

    def __repr__(self) -> str:
        return masked_repr(self, "webhook")

    def __post_init__(self) -> None:
        if self.webhook is not None:
            keep_password(self.webhook)
            # The path of a webhook is its token.
            keep_secret(self.webhook.partition("://")[2].partition("/")[2])
        if self.options.simulated:
            require_replay_prefix(self.kafka.prefix)
        if not self.group:
            raise SettingsError("the consumer group needs a name")
        if not 0.1 <= self.snapshot_s <= 600:
            raise SettingsError(f"snapshot-s {self.snapshot_s:g}: 0.1 to 600 seconds")
        if not self.max_age_h > 0:
            raise SettingsError(f"max-age-h {self.max_age_h:g}: more than 0 hours")
        if not 1 <= self.max_cameras <= 1_000_000:
            raise SettingsError(f"max-cameras {self.max_cameras}: 1 to 1,000,000")
        if self.http_port is not None and not 0 <= self.http_port <= 65535:
            raise SettingsError(f"http-port {self.http_port} is not a port")
