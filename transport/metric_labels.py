"""Label values of metrics that come from names in messages: bounded in number and in length.

A label value costs memory for as long as the process runs, and time at each scrape. Any writer of a topic chooses
names of stations and cameras, so their number and their length are bounded here, for all programs alike.
"""

from __future__ import annotations

import threading

#: Most names with their own label value; a line has tens of cameras.
MOST_NAMES = 200
#: Longest label value, in characters.
LONGEST_NAME = 100
#: Label value of every name beyond `MOST_NAMES`.
OTHER = "other"


def label_text(name: str) -> str:
    r"""Return a name as a label value: at most `LONGEST_NAME` characters, all of them printable.

    Control characters and lone surrogates become escapes, so that no name acts on a terminal or breaks the encoding of
    a scrape.

    Examples
    --------
    >>> label_text("press/top"), label_text("a\x1b[2Jb"), len(label_text("x" * 500_000))
    ('press/top', 'a\\x1b[2Jb', 100)
    """
    if len(name) <= LONGEST_NAME and name.isprintable():
        return name
    cut = name[:LONGEST_NAME]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in cut)
    return shown[:LONGEST_NAME]


class LabelNames:
    """Label values for the first `most` names; later names share `OTHER`. Thread-safe.

    Parameters
    ----------
    most
        Most names with their own value.

    Examples
    --------
    >>> names = LabelNames(most=2)
    >>> [names.of(name) for name in ("press/top", "press/side", "saw/top", "press/top")]
    ['press/top', 'press/side', 'other', 'press/top']
    >>> names.forget("press/side")
    >>> names.of("saw/top"), names.of("press/side")
    ('saw/top', 'other')
    """

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def of(self, name: str) -> str:
        """Return the label value of a name."""
        if name in self._taken:  # the usual case: the name is its own label
            return name
        text = label_text(name)
        with self._lock:
            if text not in self._taken:
                if len(self._taken) >= self._most:
                    return OTHER
                self._taken.add(text)
        return text

    def forget(self, name: str) -> None:
        """Free the label value of a name whose metrics have been removed."""
        with self._lock:
            self._taken.discard(label_text(name))
