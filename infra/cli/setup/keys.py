"""`inspection keys`: keys that sign frames, decisions and acts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.audited import audited
from infra.cli.shared.choices import SignerChoice, choice
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    BootstrapServers,
    Json,
    Prefix,
    as_text,
    kafka_settings,
)
from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import SettingsError
from schemas.moments import time_text

if TYPE_CHECKING:
    from operations.key_entries import KeyEntry
    from operations.trail.record import Act
    from transport.public_keys import TrustedKey

app = typer.Typer(no_args_is_help=True, help="Keys that sign frames, decisions and acts: make, show, publish, revoke.")

AuthorityFolder = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        envvar="INSPECTION_TRUST",
        help="Trust folder of the readers, to check that they will believe the entry.",
        show_default=False,
    ),
]


@app.command()
def new(
    name: Annotated[str, typer.Argument(callback=as_text, help="Name of the files, such as press-top.")],
    role: Annotated[SignerChoice, choice("What the key signs: frames, decisions, acts of a person, or other keys.")],
    camera: Annotated[
        list[str] | None,
        typer.Option(callback=as_text, help="Camera as station/camera, or a pattern as press/*; may be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for NAME.key and NAME.yaml.")] = Path(),
    as_json: Json = False,
) -> None:
    """Make a key. NAME.key is secret and stays where it signs; NAME.yaml goes into the trust folder of the readers.

    inspection keys new press-top --role camera --camera press/top
    """
    from operations.signing_keys import make_key_files
    from transport.public_keys import SignerRole

    made = make_key_files(out, name, SignerRole(role), tuple(camera or ()))
    if as_json:
        echo_json({"key_id": made.key_id, "private": str(made.private), "public": str(made.public)})
        return
    echo(f"key {made.key_id}")
    echo(f"secret: {made.private} (INSPECTION_SIGNING_KEY of the program that signs)")
    echo(f"public: {made.public} (into the --trust folder of workers and gates, or `inspection keys publish`)")


@app.command()
def show(
    trust: Annotated[Path, typer.Argument(metavar="DIR", help="Trust folder.")],
    topic: Annotated[
        bool, typer.Option("--topic", help="Also the keys that the line's topic spreads, as a reader believes them.")
    ] = False,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show the keys of a trust folder: id, role, cameras, bounds, revoked or not."""
    from transport.trust import REVOKED, read_trust

    own, faults = read_trust(trust), dict[str, int]()
    found = own
    if topic:
        from operations.key_entries import read_spread_keys

        found, faults = read_spread_keys(kafka_settings(bootstrap_servers, prefix), trust)
    revoked = read_trust(trust / REVOKED).by_id if (trust / REVOKED).is_dir() else {}
    keys = {**revoked, **found.by_id}
    rows = [
        _row(key_id, key, key_id in found.revoked, key_id not in own.by_id and key_id not in revoked)
        for key_id, key in sorted(keys.items(), key=_by_name)
    ]
    unknown = sorted(found.revoked - keys.keys())
    if not rows:
        raise SettingsError(f"{trust}: no keys in it")
    if as_json:
        echo_json({"keys": rows, "revoked_unknown": unknown, "entries_not_used": faults})
        return
    for row in rows:
        bounds = "".join(f", {word} {row[word]}" for word in ("from", "until") if row[word])
        state = (", by the topic" if row["is_from_topic"] else "") + (", revoked" if row["is_revoked"] else "")
        cameras = shown(", ".join(row["cameras"]))
        echo(f"{row['key_id']}  {shown(row['name'])}: {row['role']} for {cameras}{bounds}{state}")
    for key_id in unknown:
        echo(f"{key_id}  revoked by the topic; neither folder nor topic has this key")
    if faults:
        counts = ", ".join(f"{number} {why}" for why, number in faults.items())
        echo(f"entries of the topic that are not used: {counts}", err=True)


@app.command()
def publish(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Public files, as `keys new` makes them.")],
    trust: AuthorityFolder = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Spread public keys by the line's topic, signed by the authority whose private key INSPECTION_SIGNING_KEY names.

    Readers with --trust-topic believe them within seconds, if their trust folder has the public file of the authority.

        INSPECTION_SIGNING_KEY=site.key inspection keys publish press-top.yaml --trust trust
    """
    from operations.key_entries import entry_of
    from operations.trail.record import Act

    _publish([entry_of(path) for path in files], Act.KEYS_PUBLISH, trust, bootstrap_servers, prefix, as_json)


@app.command()
def revoke(
    key_ids: Annotated[list[str], typer.Argument(metavar="ID...", callback=as_text, help="Ids, see `keys show`.")],
    trust: AuthorityFolder = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Revoke keys by the line's topic, whether topic or trust folders have them. A revoked key stays revoked.

    INSPECTION_SIGNING_KEY=site.key inspection keys revoke 66687aadf862bd77 --trust trust
    """
    from operations.key_entries import revocation_entry
    from operations.trail.record import Act

    _publish([revocation_entry(each) for each in key_ids], Act.KEYS_REVOKE, trust, bootstrap_servers, prefix, as_json)


def _publish(
    entries: list[KeyEntry], act: Act, trust: Path | None, bootstrap_servers: str, prefix: str, as_json: bool
) -> None:
    from operations.key_entries import check_entries, publish_entries
    from operations.trail.record import Deed

    kafka = kafka_settings(bootstrap_servers, prefix)
    signer = check_entries(kafka, entries, trust)
    ids = [entry.key_id for entry in entries]
    with audited(kafka, Deed(act, ", ".join(ids), note=f"signed by {signer}"), writes=kafka.signing_keys):
        publish_entries(kafka, entries)
    if as_json:
        echo_json({"topic": kafka.signing_keys, "key_ids": ids, "signed_by": signer})
        return
    for key_id in ids:
        echo(f"{kafka.signing_keys}: {act} {key_id}, signed by {signer}")
    if trust is None:
        echo("not checked whether readers believe that key; --trust DIR does so", err=True)


def _by_name(item: tuple[str, TrustedKey]) -> str:
    return item[1].name


def _row(key_id: str, key: TrustedKey, is_revoked: bool, is_from_topic: bool) -> dict[str, Any]:
    return {
        "key_id": key_id,
        "name": key.name,
        "role": key.role.value,
        "cameras": list(key.cameras),
        "from": None if key.not_before_us is None else time_text(key.not_before_us),
        "until": None if key.not_after_us is None else time_text(key.not_after_us),
        "is_revoked": is_revoked,
        "is_from_topic": is_from_topic,
    }
