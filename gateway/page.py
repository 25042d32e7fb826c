"""Page that shows the interface: HTML from the OpenAPI description, without scripts and without other servers."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from gateway.openapi_samples import ADDRESS

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{margin-top:2.5rem;border-top:1px solid #bbb;padding-top:1rem}code,pre{background:#f2f2f2;padding:.1rem .3rem}"
    "pre{padding:1rem;white-space:pre-wrap;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;vertical-align:top;border-bottom:1px solid #ddd;padding:.3rem .6rem .3rem 0}"
)
_EXAMPLE = (
    "curl -f --data-binary @part.jpg -H 'Content-Type: image/jpeg' -H 'Prefer: wait=0.5' "
    "{token}'{base}/v1/inspections?part_id=P-77'"
)


def page(description: dict[str, Any], base: str) -> str:
    """Return the page.

    Parameters
    ----------
    description
        From `gateway.openapi.openapi`.
    base
        Address of the gateway, for the examples.
    """
    needs_token = "security" in description
    example = _EXAMPLE.format(base=base, token='-H "Authorization: Bearer $TOKEN" ' if needs_token else "")
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(description['info']['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(description['info']['title'])}</h1><p>{escape(description['info']['description'])}</p>",
        f"<pre>{escape(example)}</pre>",
        f"<p>{_text('`TOKEN` is the token of the client.')}</p>" if needs_token else "",
        "<p>For programs: <a href='/openapi.json'>/openapi.json</a></p>",
    ]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>")
            parts.append(f"<p>{_text(operation.get('description', ''))}</p>" + _inputs(operation))
            parts += [_command(each, base) for each in operation.get("x-codeSamples", ())]
            rows = ((status, response["description"]) for status, response in operation["responses"].items())
            parts.append(_table(("status", "meaning"), rows))
    return "".join(parts) + "</body></html>"


def _inputs(operation: dict[str, Any]) -> str:
    rows = [(each["name"], f"{each['in']}: {each['description']}") for each in operation.get("parameters", ())]
    bodies = operation.get("requestBody", {}).get("content", {})
    if bodies:
        rows.append(("body", ", ".join(bodies)))
    return _table(("input", "meaning"), rows) if rows else ""


def _text(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _command(sample: dict[str, str], base: str) -> str:
    return f"<p>{escape(sample['label'])}:</p><pre>{escape(sample['source'].replace(ADDRESS, base))}</pre>"


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = "".join(f"<tr><td><code>{escape(str(a))}</code></td><td>{_text(str(b))}</td></tr>" for a, b in rows)
    return f"<table><tr><th>{head[0]}</th><th>{head[1]}</th></tr>{lines}</table>"
