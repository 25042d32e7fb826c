"""Settings of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from schemas.addresses import masked_repr
from schemas.errors import SettingsError
from schemas.groups import REDUNDANT, WORKERS
from schemas.settings import KafkaSettings
from stream_processors.worker.overload import OverloadPolicy
from transport.belief import SignaturePolicy
from transport.machine import usable_cores

#: Consumer group of the workers that decide; all of them share the partitions of the frames topic.
DEFAULT_GROUP = WORKERS
#: Port of /health and /metrics.
DEFAULT_PORT = 8088
#: Threads of a process if the cores divide evenly: more threads compete for Python's lock (docs/performance.md).
_THREADS = 2
#: Most threads of a process: more of them wait for that lock more than they work.
_MOST_THREADS = 4
#: Largest numbers: a number that was typed wrong must not start processes until the machine stands still.
_MOST = {"processes": 256, "threads": 256, "in_flight": 1_000_000, "buffer_mib": 1024 * 1024}


@dataclass(frozen=True, slots=True, repr=False)
class WorkerSettings:
    """Settings with which one worker process reads, inspects and answers frames.

    Parameters
    ----------
    kafka
        Address and topic prefix.
    model
        Directory of the model package; None: the package that ships.
    group
        Consumer group; workers of one group share the frames.
    processes
        Worker processes under one command, see `stream_processors.worker.supervisor`; each has these settings.
    threads
        Frames that a process decodes and inspects at once, each on one thread. More threads than cores gain nothing.
    in_flight
        Most frames in flight: queued for a thread, inspected, or awaiting Kafka's acknowledgement.
    buffer_mib
        Most memory for frames that wait for their inspection, in MiB, whatever their number.
    overload
        Policy for frames that come faster than they can be inspected.
    image_store
        Store of the images that are too large for the topic, see `transport.image_store`; None: such frames become dead
        letters.
    watchdog_s
        Time after which the process ends if frames wait and none was committed; 0: never.
    unhealthy_after_s
        Time after which /health returns 503 if frames come but none is inspected to a verdict; 0: never.
    session_timeout_s
        Time after which the group's other workers get the partitions of a worker that is silent. Brokers accept no less
        than their ``group.min.session.timeout.ms``, by default 6 s.
    state_dir
        Folder for the frames in hand, see `transport.quarantine`; None: ``INSPECTION_STATE_DIR``, or the
        user's folder for state.
    trust, signatures
        Folder of public keys, and what to do with frames whose signature is missing or wrong, see
        `transport.belief.make_belief`.
    trust_topic
        True: the topic of keys of the line is followed, too.
    http_host, http_port
        Address of /health and /metrics; port None: 8088, or a free port if 8088 is in use.
    """

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    model: Path | None = None
    group: str = DEFAULT_GROUP
    processes: int = 1
    threads: int = field(default_factory=lambda: min(_MOST_THREADS, usable_cores()))
    in_flight: int = 64
    buffer_mib: int = 32
    overload: OverloadPolicy = field(default_factory=OverloadPolicy)
    image_store: str | None = None
    watchdog_s: float = 60.0
    unhealthy_after_s: float = 30.0
    session_timeout_s: float = 6.0
    state_dir: Path | None = None
    trust: Path | None = None
    trust_topic: bool = False
    signatures: SignaturePolicy | None = None
    http_host: str = "127.0.0.1"
    http_port: int | None = None

    def __repr__(self) -> str:
        return masked_repr(self, "image_store")

    def __post_init__(self) -> None:
        for name in ("processes", "threads", "in_flight", "buffer_mib"):
            if not 1 <= getattr(self, name) <= _MOST[name]:
                raise SettingsError(f"{name.replace('_', '-')} {getattr(self, name)}: 1 to {_MOST[name]}")
        for name in ("watchdog_s", "unhealthy_after_s"):
            if not 0 <= getattr(self, name) <= 1e6:
                raise SettingsError(f"{name.replace('_', '-')} {getattr(self, name):g}: 0 (off) to 1000000 seconds")
        if not 0.5 <= self.session_timeout_s <= 300:
            raise SettingsError(f"session-timeout-s {self.session_timeout_s:g}: 0.5 to 300 seconds")
        if not self.group:
            raise SettingsError("the consumer group needs a name")
        if self.http_port is not None and not 0 <= self.http_port <= 65535:
            raise SettingsError(f"http-port {self.http_port} is not a port")


def redundant_group(group: str) -> str:
    """Return the name of the group that answers the same frames beside another one.

    Examples
    --------
    >>> redundant_group("inspection-workers")
    'inspection-workers-redundant'
    """
    return group + REDUNDANT


def share_of_cores(
    processes: int | None = None, threads: int | None = None, cores: int | None = None
) -> tuple[int, int]:
    """Return the number of processes and the number of threads of each; a number that is not None stays.

    ``cores`` None: the cores that this process may use. Two threads compete little for Python's lock, and one camera,
    whose frames all go to one process, can still use two cores.

    Examples
    --------
    >>> [share_of_cores(cores=cores) for cores in (1, 2, 3, 16)]
    [(1, 1), (1, 2), (1, 3), (8, 2)]
    >>> share_of_cores(processes=2, cores=2), share_of_cores(processes=1, cores=16), share_of_cores(threads=4, cores=16)
    ((2, 1), (1, 4), (4, 4))
    """
    cores = cores or usable_cores()
    if processes is None:
        processes = max(1, cores // max(threads or 0, _THREADS))
    if threads is None:
        threads = min(_MOST_THREADS, max(1, cores // max(1, processes)))
    return processes, threads
