"""Root command: it has all commands (`infra.cli.commands`), and prints an error that a user can cause in one line."""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
import sys
from typing import Annotated

import typer

from infra.cli.commands import LazyGroup

#: Numbers of the errors that a file system without room gives.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Numbers of the errors that the path of a user causes, if a command does not expect them there.
_OF_PATHS = frozenset(
    {
        errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
        errno.ENOTEMPTY, errno.ENXIO, errno.EPERM, errno.EROFS, errno.ESTALE, errno.ETXTBSY,
    }
)  # fmt: skip

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Visual inspection on Kafka: cameras in, decisions out, gates that fail safe.\n\n"
    "A first look: [bold]inspection demo[/bold]. A line of your own: broker start, topics apply, worker, "
    "produce, actuate. The past: replay, analyse, compare. Something wrong: [bold]inspection doctor[/bold].",
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from infra.cli.shared.terminal_text import echo

        echo(f"streaming-inspection {version('streaming-inspection')}")
        raise typer.Exit


@app.callback()
def root(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, to standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Set up logging and the environment before a command runs."""
    from transport.logs import set_up_logging
    from transport.loopback import exempt_loopback

    exempt_loopback()

    set_up_logging(logging.DEBUG if verbose else logging.INFO)


def main() -> None:
    """Run the console script."""
    from infra.cli.shared.shutdown import end_on_signals, end_on_sigterm_as_first_process

    _fill_standard_files()
    end_on_sigterm_as_first_process()
    # A name may have characters that the encoding of the terminal lacks.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with end_on_signals():
            app()
    except BrokenPipeError:
        # The reader of our output (head, less) has ended, which is no error.
        _drop_output()
        sys.exit(1)
    except Exception as error:
        from infra.cli.shared.terminal_text import echo, echo_lines, shown
        from schemas.addresses import masked_text
        from schemas.errors import InspectionError

        if isinstance(error, OSError) and error.errno == errno.EIO and _is_closed_terminal():
            _drop_output()
            sys.exit(1)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _drop_output()
            where = error.filename or "the output, or a file"
            echo(shown(f"error: {where}: {error.strerror}; make room and repeat the command", 4000), err=True)
            sys.exit(1)
        if isinstance(error, OSError) and error.errno in _OF_PATHS and error.filename is not None:
            logging.getLogger(__name__).debug("the path was not expected to fail", exc_info=True)
            echo(shown(f"error: {error.filename}: {error.strerror}", 4000), err=True)
            sys.exit(1)
        if not isinstance(error, InspectionError):
            raise
        # Further lines are indented, so that they cannot look like a separate line.
        first, *more = masked_text(str(error)).split("\n")
        echo(shown(f"error: {first}", 4000), err=True)
        echo_lines((f"    {shown(line, 4000)}" for line in more), err=True)
        sys.exit(error.exit_code)


def _fill_standard_files() -> None:
    """Open /dev/null in the place of standard files that are closed: else a socket or a file of ours gets their number.

    Libraries write to the number 2, whatever it is.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _is_closed_terminal() -> bool:
    """Return True if the output is a terminal that was closed: it is still a device, but answers as no terminal."""
    return stat.S_ISCHR(os.fstat(1).st_mode) and not os.isatty(1)


def _drop_output() -> None:
    """Keep Python from flushing what is left into an output that takes nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
