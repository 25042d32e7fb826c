"""Waits and deadlines that a request states: ``Prefer`` (RFC 7240), ``X-Deadline-Ms`` and ``deadline_ms``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.request import parse_http_list

from gateway.problems import Problem
from gateway.whole_numbers import whole_number

_NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?")
#: Longest deadline, in ms: a day.
LONGEST_DEADLINE_MS = 86_400_000
#: Time beyond the deadline in which the decision of a frame that was shed arrives, in seconds.
GRACE_S = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """Wait of a request.

    Parameters
    ----------
    wait_s
        Longest wait for the decision, in seconds; 0: do not wait.
    deadline_ms
        Deadline of the frame; None for a frame without one.
    responds_async
        True if the answer is 202 when there is no decision after the wait.
    applied
        Preferences that were followed, for ``Preference-Applied``; empty if none was followed.
    """

    wait_s: float
    deadline_ms: int | None
    responds_async: bool
    applied: str

    @property
    def longest_s(self) -> float:
        """Longest time until the answer, in seconds."""
        return self.wait_s if self.responds_async else self.wait_s + GRACE_S


def patience_of(
    prefer: Iterable[str],
    deadlines: Iterable[str],
    default_s: float,
    longest_s: float,
    *,
    stated_s: float | None = None,
    may_respond_async: bool = True,
) -> Patience:
    """Return the wait and the deadline of a request.

    A request that waits gives its frame its wait as the deadline: then the worker does not inspect what is late.

    Parameters
    ----------
    prefer
        Values of the headers ``Prefer``.
    deadlines
        Texts of the deadlines that the request states, in ms; the nearest one counts.
    default_s, longest_s
        Wait without a preference, and the longest wait, in seconds.
    stated_s
        Wait that the request states elsewhere, in seconds; a preference counts before it.
    may_respond_async
        False if ``respond-async`` is to be ignored.

    Raises
    ------
    Problem
        ``bad-request`` if a number is not valid.

    Examples
    --------
    >>> patience_of(["wait=0.5"], [], 10, 60)
    Patience(wait_s=0.5, deadline_ms=500, responds_async=False, applied='wait=0.5')
    >>> patience_of(["respond-async"], ["800"], 10, 60)
    Patience(wait_s=0.0, deadline_ms=800, responds_async=True, applied='respond-async')
    >>> patience_of([], ["800", "900"], 10, 60).wait_s
    0.8
    """
    preferences = _preferences(prefer)
    responds_async = may_respond_async and "respond-async" in preferences
    deadline_ms = min(map(_deadline_ms, deadlines), default=None)
    applied = ["respond-async"] if responds_async else []
    if "wait" in preferences:
        wait_s = min(_seconds(preferences["wait"]), longest_s)
        if not wait_s and not responds_async:
            raise Problem("bad-request", "Prefer: wait=0 needs respond-async; else wait for some time")
        applied.append(f"wait={wait_s:g}")
    elif responds_async:
        wait_s = 0.0
    elif stated_s is not None:
        wait_s = stated_s
    elif deadline_ms is not None:
        wait_s = min(deadline_ms / 1000, longest_s)
    else:
        wait_s = default_s
    if deadline_ms is None and not responds_async:
        deadline_ms = max(1, math.ceil(wait_s * 1000))
    return Patience(wait_s, deadline_ms, responds_async, ", ".join(applied))


def wait_of(text: str | None, longest_s: float) -> float:
    """Return the wait of a query, in seconds; 0 if it states no wait.

    Raises
    ------
    Problem
        ``bad-request``.
    """
    wait_s = 0.0 if text is None else _seconds(text)
    if wait_s > longest_s:
        raise Problem("bad-request", f"wait={wait_s:g}: at most {longest_s:g} seconds")
    return wait_s


def _preferences(headers: Iterable[str]) -> dict[str, str]:
    """Return the preferences by name. Of several with one name the first counts (RFC 7240, section 2).

    Examples
    --------
    >>> _preferences(['wait=5, wait=1', 'foo="a, wait=0.001"; bar'])
    {'wait': '5', 'foo': 'a, wait=0.001'}
    """
    found: dict[str, str] = {}
    for header in headers:
        for preference in parse_http_list(header):
            # Parameters of a preference, after a semicolon, have no meaning here.
            name, _, value = preference.partition(";")[0].partition("=")
            found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _seconds(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise Problem("bad-request", f"wait={text[:40]!r}: a number of seconds, such as 0.5")
    return float(text)


def _deadline_ms(text: str) -> int:
    deadline_ms = whole_number(text)
    if deadline_ms is None or not 1 <= deadline_ms <= LONGEST_DEADLINE_MS:
        raise Problem("bad-request", f"deadline_ms={text[:40]!r}: a whole number from 1 to {LONGEST_DEADLINE_MS}")
    return deadline_ms
