"""Numbers outside of the range of an option: one line, which states the range, before anything is started."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from infra.cli.root import app
from schemas.errors import SettingsError

RATE = "from one frame a day (0.0000116) to 1000000 a second"
PORT = "a port is a number from 1 to 65535"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("demo", "--fps", "1e-300"), RATE),
        (("demo", "--fps", "1e300"), RATE),
        (("worker", "--watchdog-s", "1000001"), "0 (off) to 1000000 seconds"),
        (("worker", "--unhealthy-after-s", "-1"), "0 (off) to 1000000 seconds"),
        *(
            ((*command, "--bootstrap-servers", "127.0.0.1:99999"), PORT)
            for command in (
                ("produce", "--camera", "synthetic"), ("worker",), ("actuate",), ("watch",), ("audit",),
                ("topics", "diff"), ("trail",),
            )
        ),
    ],
)  # fmt: skip
def test_the_error_states_the_range(arguments: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, SettingsError), done.output
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--deadline-ms", "2147483648", "less than or equal to 2147483647"),
        ("--belt-ms", "86400001", "less than or equal to 86400000"),
    ],
)
def test_the_demo_refuses_what_its_gate_would(option: str, value: str, says: str) -> None:
    done = CliRunner().invoke(app, ("demo", option, value), env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert says in done.output
