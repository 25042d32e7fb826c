"""`inspection dead-letters`: list, show and retry the messages that could not be processed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.shared.audited import audited, warn
from infra.cli.shared.options import (
    BOOTSTRAP_DEFAULT,
    PREFIX_DEFAULT,
    ArchiveOnly,
    ArchiveUri,
    BootstrapServers,
    ImageStoreUri,
    Json,
    Prefix,
    image_store_uri,
    kafka_settings,
    past_source,
)
from infra.cli.shared.terminal_text import echo, echo_json, shown
from schemas.errors import InspectionError, SettingsError
from schemas.moments import time_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operations.dead_letters import Letter, Retrier
    from replay.past.source import Source
    from schemas.settings import KafkaSettings
    from transport.image_store import ImageStore

app = typer.Typer(no_args_is_help=True, help="Messages that could not be processed, kept with the reason.")

Kind = Annotated[str | None, typer.Option(help="Only of this kind, such as unreadable-image.")]
NewestOption = Annotated[str | None, typer.Option(help="Only of the last 90s, 15m, 8h, 2d.")]


class NotRetried(InspectionError):
    """Error: some dead letters were not retried, for example because they would fail again."""


@app.command(name="list")
def list_letters(
    kind: Kind = None,
    last: NewestOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most letters to list; the newest ones are listed.")] = 100,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """List dead letters, one line each: id, time, kind, frame or position, reason.

    A batch that several readers have skipped has one line.
    """
    from collections import deque

    from operations.dead_letters import without_copies

    source = past_source(kafka_settings(bootstrap_servers, prefix), archive, archive_only)
    kept = deque((_row(letter) for letter in without_copies(_letters(source, kind, last))), maxlen=limit)
    if as_json:
        echo_json({"dead_letters": list(kept)})
        return
    for row in kept:
        state = " (retried)" if row["retried"] else ""
        about = f"{shown(row['about'])}: {shown(row['reason'])}"
        echo(f"{row['id']}  {row['failed_at']}  {shown(row['kind'])}{state}  {about}")
    if not kept:
        echo("no dead letters" + (" of that kind or time" if kind or last else ""))


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    save: Annotated[Path | None, typer.Option(help="Write the message's value, byte for byte.")] = None,
    image_store: ImageStoreUri = None,
    archive: ArchiveUri = None,
    archive_only: ArchiveOnly = False,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show everything about a dead letter, and if a retry would succeed."""

    from operations.dead_letters import find_letter, retry_blocker, with_message
    from transport.image_store import ImageStore

    kafka = kafka_settings(bootstrap_servers, prefix)
    source = past_source(kafka, archive, archive_only)
    found = with_message(find_letter(source, letter_id), source)
    value = found.letter.value or b""
    row = {
        **_row(found),
        "worker": found.letter.worker,
        "key": (found.letter.key or b"").decode(errors="backslashreplace"),
        "headers": {name: text.decode(errors="backslashreplace") for name, text in found.letter.headers.items()},
        "size_bytes": len(value),
        "begins_with": value[:32].hex(" "),
        "would_fail": retry_blocker(found, kafka, source.codec, ImageStore(image_store_uri(image_store))),
    }
    if save is not None:
        try:
            save.write_bytes(value)
        except OSError as error:
            raise SettingsError(f"--save {save}: {error.strerror}") from error
    if as_json:
        echo_json(row)
    else:
        for name, content in row.items():
            echo(f"{name.replace('_', ' ')}: {shown(str(content), 4000)}")


@app.command()
def retry(
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these. Default: all.")] = None,
    kind: Kind = None,
    last: NewestOption = None,
    force: Annotated[bool, typer.Option("--force", help="Also those that would fail again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    image_store: ImageStoreUri = None,
    archive: ArchiveUri = None,
    bootstrap_servers: BootstrapServers = BOOTSTRAP_DEFAULT,
    prefix: Prefix = PREFIX_DEFAULT,
    as_json: Json = False,
) -> None:
    """Publish messages again that would pass now: each message once, however often the command runs.

    Exit status 1 if a letter named by its id would fail again.

        inspection dead-letters retry --dry-run
    """

    import dataclasses
    from contextlib import nullcontext

    from operations.dead_letters import Retrier
    from operations.trail.record import Act, Deed, record_done
    from transport.image_store import ImageStore

    kafka = kafka_settings(bootstrap_servers, prefix)
    source = past_source(kafka, archive)
    store = ImageStore(image_store_uri(image_store))
    retrier = None if dry_run else Retrier(kafka)
    # Read the letters after the retrier has started: it fences off an older retrier, whose work is then visible.
    wanted = set(letter_ids or [])
    about = ", ".join(letter_ids or []) or " ".join(filter(None, ("all", kind, last and f"of the last {last}")))
    deed = Deed(Act.DEAD_LETTER_RETRY, f"dead letters: {about}", after=kafka.frames)
    rows: list[dict[str, Any]] = []
    with nullcontext() if retrier is None else audited(kafka, deed, writes=kafka.frames):
        # Each line comes at once: what has been retried is known also if a later letter ends the command.
        for row in _retried(retrier, source, kafka, store, wanted, kind, last, force):
            rows.append(row)
            if not as_json:
                done = "would be retried" if dry_run else "retried"
                echo(f"{row['id']}: {done if row['retried'] else shown(row['why_not'])}")
    if as_json:
        echo_json({"dead_letters": rows, "dry_run": dry_run})
    else:
        count = sum(row["retried"] for row in rows)
        echo(f"{count} of {len(rows)} " + ("would be retried" if dry_run else "retried"))
    if retrier is not None and any(row["retried"] for row in rows):
        ids = ", ".join(row["id"] for row in rows if row["retried"])
        record_done(kafka, dataclasses.replace(deed, about=f"dead letters: {ids}"), warn)
    missing = wanted - {row["id"] for row in rows}
    if missing:
        raise SettingsError(
            f"no dead letter {', '.join(sorted(missing))}; `inspection dead-letters list` shows their ids"
        )
    if wanted and not all(row["retried"] for row in rows):
        raise NotRetried("not all of them were retried")


def _retried(
    retrier: Retrier | None,
    source: Source,
    kafka: KafkaSettings,
    store: ImageStore,
    wanted: set[str],
    kind: str | None,
    last: str | None,
    force: bool,
) -> Iterator[dict[str, Any]]:
    """Retry letters, and yield a row for each; without a retrier only the rows."""
    from operations.dead_letters import LetterRefused, retry_blocker, with_message
    from schemas.letters import whole_size

    for letter in _letters(source, kind, last):
        if wanted and letter.id not in wanted:
            continue
        letter = with_message(letter, source)
        reason = retry_blocker(letter, kafka, source.codec, store)
        is_cut = letter.letter.value is None or whole_size(letter.letter) is not None
        never = letter.retried or letter.letter.source_topic != kafka.frames or is_cut
        done = reason is None or (force and not never)
        if done and retrier is not None:
            try:
                retrier.retry(letter)
            except LetterRefused as error:
                done, reason = False, str(error)
        yield {"id": letter.id, "retried": done, "why_not": None if done else reason}


def _letters(source: Source, kind: str | None, last: str | None) -> Any:
    import time

    from infra.cli.shared.times import seconds
    from operations.dead_letters import read_letters
    from transport.topic_ranges import TimeRange

    begin = None if last is None else time.time_ns() // 1000 - round(seconds(last, "--last") * 1e6)
    letters = read_letters(source, TimeRange(begin))
    return (letter for letter in letters if kind in (None, letter.letter.kind))


def _row(found: Letter) -> dict[str, Any]:
    letter = found.letter
    position = f"{letter.source_topic}-{letter.source_partition}@{letter.source_offset}"
    return {
        "id": found.id,
        "failed_at": time_text(letter.failed_at_us),
        "kind": letter.kind,
        "reason": letter.reason,
        "about": letter.frame_id or position,
        "source": position,
        "retried": found.retried,
        "retry_of": found.retry_of,
    }
