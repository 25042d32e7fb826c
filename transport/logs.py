"""Log of our programs: one line for each event, to standard error, without characters that act on a terminal.

Names and reasons come from messages that anyone may have sent, also inside exceptions. The formatter escapes the whole
line, including line ends, so that no event looks like two events. It indents the lines of a traceback, and masks
passwords in addresses. Exceptions that end a thread or the process are printed in the same way.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType

from schemas.addresses import masked_text
from schemas.errors import InspectionError
from schemas.text import shown

#: Libraries that log every step; only their warnings and errors are logged.
_NOISY = ("aiokafka", "faust", "mode", "asyncio")
#: Libraries that log whole requests, with paths, tokens and signatures. Not logged either if more is asked for.
_TELLTALE = (
    "botocore", "aiobotocore", "s3fs", "fsspec", "urllib3", "aiohttp",
    "httpx", "httpx2", "httpcore", "httpcore2",  # of the registry's client; the name depends on its version
)  # fmt: skip

#: Longest line of an event or of a traceback, in characters; the characters after it are only counted.
LONGEST_LINE = 4_000


class LineFormatter(logging.Formatter):
    r"""Formatter whose lines contain only printable characters.

    Examples
    --------
    >>> record = logging.LogRecord("x", logging.ERROR, "", 0, "camera %s", ("\x1b[2Jtop\nINFO all is well",), None)
    >>> print(LineFormatter("%(levelname)s %(message)s").format(record))
    ERROR camera \x1b[2Jtop\nINFO all is well
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return shown(masked_text(super().formatMessage(record)), LONGEST_LINE)

    def formatException(self, ei: object) -> str:
        return _trace(*ei)  # type: ignore[misc]

    def formatStack(self, stack_info: str) -> str:
        return _indented(stack_info)


def set_up_logging(level: int, process: str = "") -> None:
    """Set up the log from ``level`` on; ``process`` is put into each line, for processes that share a terminal."""
    who = f" [{shown(process).replace('%', '%%')}]" if process else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(f"%(asctime)s %(levelname)s{who} %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    set_up_tracebacks()
    for library in (*_TELLTALE, *(_NOISY if level > logging.DEBUG else ())):
        logging.getLogger(library).setLevel(logging.WARNING)


def set_up_tracebacks() -> None:
    """Print exceptions that end a thread or the process as the log does; for a child process without a log too."""
    # The hooks of an embedding program stay.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_exception
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _print_of_thread


def _indented(text: str) -> str:
    return "\n".join(f"    {shown(masked_text(line), LONGEST_LINE)}" for line in text.split("\n"))


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> str:
    """Return the indented traceback of an error; of one of ours without its cause.

    Our text states the cause with secrets masked. The text of the library may show a piece of an address that no form
    tells from other words.
    """
    lines = traceback.format_exception(kind, error, trace, chain=not isinstance(error, InspectionError))
    return _indented("".join(lines).rstrip("\n"))


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(_trace(kind, error, trace) + "\n")


def _print_of_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_type is SystemExit or arguments.exc_value is None:
        return
    name = "" if arguments.thread is None else arguments.thread.name
    logging.getLogger("threads").error(
        "thread %s ended: %s", name, arguments.exc_type.__name__,
        exc_info=(arguments.exc_type, arguments.exc_value, arguments.exc_traceback),
    )  # fmt: skip
