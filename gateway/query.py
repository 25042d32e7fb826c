"""Query of a request, as text."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from gateway.problems import Problem

_MOST_FIELDS = 100


def query_items(request: Request) -> list[tuple[str, str]]:
    """Return names and values of the query, in order.

    Starlette replaces what is not UTF-8 by U+FFFD, and so two parts could get one id.

    Raises
    ------
    Problem
        ``bad-request`` if the query is not UTF-8, or has too many fields.

    Examples
    --------
    >>> query_items(Request({"type": "http", "query_string": b"part_id=Gr%C3%BCn"}))
    [('part_id', 'Gr\xfcn')]
    """
    try:
        text = request.scope["query_string"].decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeDecodeError:
        raise Problem("bad-request", "the query is not UTF-8 with percent signs, such as part_id=Gr%C3%BCn") from None
    except ValueError:
        raise Problem("bad-request", f"the query has more than {_MOST_FIELDS} fields") from None
