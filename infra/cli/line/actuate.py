"""`inspection actuate`: run a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.shared.choices import DriftTypeChoice, FailsafeChoice, OnDriftChoice, choice
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    HTTP_HOST_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    HttpHost,
    HttpPort,
    Json,
    MetricsAddress,
    MetricsPort,
    NoPartId,
    Prefix,
    Signatures,
    TrustFolder,
    TrustTopic,
    http_endpoint,
    kafka_settings,
)
from infra.cli.shared.terminal_text import echo_json, echo_lines


def actuate(
    driver: Annotated[
        str, typer.Option(help="Driver that moves the gate: simulated, an installed plug-in, or package.module:Class.")
    ] = "simulated",
    driver_option: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Keyword argument of the driver, as text; may be repeated.")
    ] = None,
    station: Annotated[str | None, typer.Option(help="Only parts of this station. Default: all.")] = None,
    belt_ms: Annotated[float, typer.Option(help="From camera to gate, in ms.")] = 800.0,
    decide_by_ms: Annotated[
        float | None,
        typer.Option(help="A decision later than this after the capture is too late. Default: each frame's deadline."),
    ] = None,
    failsafe: Annotated[FailsafeChoice, choice("Action without a decision.")] = "reject",
    fault_after: Annotated[
        int,
        typer.Option(
            help="Go into FAULT after this many parts in a row without a usable decision; `inspection gate reset` ends "
            "it. 0: never."
        ),
    ] = 10,
    heartbeat_ms: Annotated[
        float, typer.Option(help="DEGRADED after this time without contact to broker or decisions, in ms; 0: never.")
    ] = 2000.0,
    no_part_id: NoPartId = None,
    max_lateness_ms: Annotated[
        float,
        typer.Option(
            help="A part that passed the gate longer ago than this gets the fail-safe, whatever the decision: the "
            "gate itself stood still, or its driver was slow. 0: no limit."
        ),
    ] = 500.0,
    on_drift: Annotated[
        OnDriftChoice,
        choice(
            "While a camera drifts: nothing, review (its accepted parts go to REVIEW) or stop (FAULT). An episode "
            "that was acknowledged has no consequence."
        ),
    ] = "nothing",
    drift_type: Annotated[DriftTypeChoice, choice("Type of drift with a consequence.")] = "any",
    simulated: Annotated[
        bool,
        typer.Option(
            help="Act on frames that were published again (`inspection replay --to-topic`), and on those alone; needs "
            "their --prefix. A part is on the belt from when its frame comes."
        ),
    ] = False,
    http_host: HttpHost = HTTP_HOST_DEFAULT,
    http_port: HttpPort = None,
    metrics_port: MetricsPort = None,
    metrics_address: MetricsAddress = None,
    journal: Annotated[Path | None, typer.Option(help="Append a JSON line for each part to this file.")] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory for the state: read positions, parts acted on, and a FAULT. Default: lost at a restart."
        ),
    ] = None,
    trust: TrustFolder = None,
    trust_topic: TrustTopic = False,
    signatures: Signatures = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Act on each part when it is at the gate: as decided, or fail-safe without a decision in time.

    The frames topic stands for the light barrier at the camera. Ctrl-C or SIGTERM lets the gate finish
    the parts on the belt; then it prints what it did.

        inspection actuate --belt-ms 800 --journal gate.jsonl
    """

    import threading

    from actuators.errors import GateError
    from actuators.run import run_gate
    from actuators.settings import GateSettings, OnDrift
    from infra.cli.shared.shutdown import stop_on_signals
    from schemas.errors import SettingsError
    from schemas.records import Action, DriftType
    from transport.belief import SignaturePolicy

    options = {}
    for pair in driver_option or []:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise SettingsError(f"--driver-option {pair!r}: it is KEY=VALUE")
        options[key] = value

    http_host, http_port = http_endpoint(http_host, http_port, metrics_address, metrics_port)
    stop = threading.Event()
    with stop_on_signals(stop):
        report = run_gate(
            kafka_settings(bootstrap_servers, prefix),
            GateSettings(
                belt_ms,
                decide_by_ms,
                Action(failsafe.upper()),
                fault_after,
                heartbeat_ms,
                OnDrift(on_drift),
                simulated,
                no_part_ids=tuple(no_part_id or ()),
                max_lateness_ms=max_lateness_ms,
            ),
            driver=driver,
            driver_options=options,
            station=station,
            journal=journal,
            state_dir=state_dir,
            http_host=http_host,
            http_port=http_port,
            drift_type=None if drift_type == "any" else DriftType(drift_type.upper()),
            trust=trust,
            trust_topic=trust_topic,
            signatures=None if signatures is None else SignaturePolicy(signatures),
            stop=stop,
        )
    if as_json:
        echo_json(report.as_dict())
    else:
        echo_lines(report.as_lines())
    if report.error is not None:
        raise GateError(report.error)
