"""Options of commands that read a run of `inspection replay`, or a selection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    Path | None,
    typer.Argument(help="Folder of a run of `inspection replay`, instead of a selection.", show_default=False),
]
TruthAttribute = Annotated[
    str | None,
    typer.Option(
        help="Attribute of frames that says the truth where no label does, as `label` does in the demo. All frames "
        "have it, so it counts as drawn at random."
    ),
]
