"""`inspection keys`: keys that sign frames, decisions and acts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.choices import SignerChoice, choice
from infra.cli.shared.options import Json, as_text
from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import SettingsError
from schemas.moments import time_text

if TYPE_CHECKING:
    from transport.trust import TrustedKey

app = typer.Typer(no_args_is_help=True, help="Keys that sign frames, decisions and acts: make them, show them.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(callback=as_text, help="Name of the files, such as press-top.")],
    role: Annotated[SignerChoice, choice("What the key signs: frames, decisions, or acts of a person.")],
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
    from transport.trust import SignerRole

    made = make_key_files(out, name, SignerRole(role), tuple(camera or ()))
    if as_json:
        echo_json({"key_id": made.key_id, "private": str(made.private), "public": str(made.public)})
        return
    echo(f"key {made.key_id}")
    echo(f"secret: {made.private} (INSPECTION_SIGNING_KEY of the program that signs)")
    echo(f"public: {made.public} (into the --trust folder of workers and gates)")


@app.command()
def show(trust: Annotated[Path, typer.Argument(metavar="DIR", help="Trust folder.")], as_json: Json = False) -> None:
    """Show the keys of a trust folder: id, role, cameras, bounds, revoked or not."""
    from transport.trust import REVOKED, read_trust

    found = read_trust(trust)
    revoked = read_trust(trust / REVOKED).by_id if (trust / REVOKED).is_dir() else {}
    keys = {**revoked, **found.by_id}
    rows = [_row(key_id, key, key_id in found.revoked) for key_id, key in sorted(keys.items(), key=_by_name)]
    if as_json:
        echo_json({"keys": rows})
        return
    for row in rows:
        bounds = "".join(f", {word} {row[word]}" for word in ("from", "until") if row[word])
        state = ", revoked" if row["is_revoked"] else ""
        cameras = shown(", ".join(row["cameras"]))
        echo(f"{row['key_id']}  {shown(row['name'])}: {row['role']} for {cameras}{bounds}{state}")
    if not rows:
        raise SettingsError(f"{trust}: no keys in it")


def _by_name(item: tuple[str, TrustedKey]) -> str:
    return item[1].name


def _row(key_id: str, key: TrustedKey, is_revoked: bool) -> dict[str, Any]:
    return {
        "key_id": key_id,
        "name": key.name,
        "role": key.role.value,
        "cameras": list(key.cameras),
        "from": None if key.not_before_us is None else time_text(key.not_before_us),
        "until": None if key.not_after_us is None else time_text(key.not_after_us),
        "is_revoked": is_revoked,
    }
