"""One complete HTML file that opens without a network and makes no requests.

The page forbids itself all requests and all scripts except its own three (Content Security Policy Level 3, by hash).
Even if a name from a message got through the template's escaping, nothing would run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replay.report import words
from replay.report.plots import Figure
from schemas.errors import SettingsError
from schemas.plain_files import check_output_file
from schemas.private_files import open_new

_FOLDER = Path(__file__).parent


def check_html(path: Path) -> None:
    """Refuse, at once, a report that could not be written at the end.

    Raises
    ------
    SettingsError
        If the file has no existing folder, if it is itself a folder or a device, or if a package for reports is not
        installed.
    """
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: {path.parent} is no folder")
    check_output_file(path)
    check_installed()


def check_installed() -> None:
    """Refuse a report early if it could not be made.

    Raises
    ------
    SettingsError
        If jinja2 or plotly is not installed.
    """
    try:
        import jinja2 as _jinja2  # noqa: F401
        import plotly.offline as _plotly  # noqa: F401
    except ImportError as error:
        raise SettingsError("a report needs jinja2 and plotly: pip install 'streaming-inspection[analysis]'") from error


def render(template: str, figures: Mapping[str, Figure], **values: Any) -> str:
    """Return a page.

    Parameters
    ----------
    template
        Name of a template of this folder that extends ``layout.html.j2``.
    figures
        Plots by the name that the template gives them.
    values
        Further variables of the template; ``title``, ``lead``, ``origin``, ``contents`` and ``footer`` are needed.

    Raises
    ------
    SettingsError
        If jinja2 or plotly is not installed.
    """
    check_installed()
    import jinja2
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    # A browser normalises all line ends before it hashes a script.
    plotly = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        finalize=lambda value: words.visible(value) if type(value) is str else value,
    )  # fmt: skip
    return environment.get_template(template).render(
        policy=_policy(plotly, script),
        css=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        js=Markup(script),
        plotly=Markup(plotly),
        data=htmlsafe_json_dumps(figures, allow_nan=False),
        figures=figures,
        w=words,
        **values,
    )


def write_document(path: Path, page: str) -> None:
    """Write a page; the file appears only when it is complete.

    Raises
    ------
    SettingsError
        If the file cannot be written.
    """
    try:
        handle, temporary = open_new(path.parent, f".{path.name[:100]}.", ".part")
        try:
            with open(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(page)
            check_output_file(path)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error


def _policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'"
    )
